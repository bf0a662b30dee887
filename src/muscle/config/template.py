"""The two commented files that `muscle init` writes. Every value that stands in them is the default."""

SHORT_UPDATE_YAML = """\
# One update: two bases, the tasks, how the adapters are trained. Paths are relative to this file.
# Run:  muscle update update.yaml --dry-run   (what would be done)
#       muscle update update.yaml             (do it; a stopped run resumes, only what changed runs again)
# Every setting there is: muscle init --full all.yaml

old:
  base: HuggingFaceTB/SmolLM2-135M      # hub name, local folder, or a .gguf file
  # adapters: {piqa: adapters/old/piqa} # existing PEFT folders, used as they are
  # record: old.jsonl                   # instead: recorded answers of an old model that is gone (docs/record.md)
new:
  base: HuggingFaceTB/SmolLM2-135M-Instruct

tasks:
  - task: piqa                          # hellaswag, piqa, gsm8k, samsum; for your own rows: muscle init --task ROWS
    train: hub:baber/piqa:train         # JSONL, Parquet or CSV file, or hub:name[/config]:split
    test: hub:baber/piqa:validation     # never trained on

output: runs/update

lora: {r: 128, alpha: 256}              # the paper's Table 8, like all that is left out
training:                               # task adapters and compatibility adapter alike
  epochs: 10
  learning_rate: 1.0e-4
  batch_size: 4                         # examples per forward pass; a step takes gradient_accumulation passes
  gradient_accumulation: 8
alignment:                              # the compatibility adapter: docs/update.md
  method: paper                         # Eq. 1 on tokens. If an answer is one of several options, better:
  # method: options                     # every_option if options are sentences; answers, every_answer if generated
  # unlabelled: traffic.jsonl           # inputs without labels, such as a log of requests: the more, the fewer flips
  # unlabelled_epochs: 2
  # training: {learning_rate: 6.0e-4, epochs: 3}
evaluation:
  bare_base: true                       # also score the new base without an adapter
  control: true                         # also train the plain update's adapter on for as long, without the old model
  floor: false                          # also train the old adapter again, to see what that alone flips
"""

UPDATE_YAML = """\
# One update: two bases, the tasks, and the settings of every stage. Paths are relative to this file.
# Run:  muscle update update.yaml --dry-run   (what would be done)
#       muscle update update.yaml             (do it; a stopped run resumes, only what changed runs again)

old:
  base: HuggingFaceTB/SmolLM2-135M      # hub name, local folder, or a .gguf file
  # revision: main
  # adapters: {piqa: adapters/old/piqa} # existing PEFT folders, used as they are
  # record: old.jsonl                   # instead: recorded answers of an old model that is gone (docs/record.md)
new:
  base: HuggingFaceTB/SmolLM2-135M-Instruct

tasks:
  - task: piqa                          # hellaswag, piqa, gsm8k, samsum, or the path of your own task's YAML
    train: hub:baber/piqa:train         # JSONL, Parquet or CSV file, or hub:name[/config]:split;
    test: hub:baber/piqa:validation     # default: a built-in task's own. Test data is never trained on
    # train_limit: 1000
    # test_limit: 500

output: runs/update

prompt:                                 # ours: how examples become prompts, in training and scoring alike
  chat_template: false                  # true: use the chat template of each base's own tokenizer
  system: null                          # text of the system message, for the chat template
  messages: null                        # or the whole conversation, the last message the user's with {{ prompt }} in it
  num_fewshot: 0                        # solved examples from the training data; or {TASK: NUMBER}
# The paper's Table 8, unless marked "ours".
lora:
  r: 128
  alpha: 256
  dropout: 0.0
  target_modules: all-linear
training:                               # task adapters and compatibility adapter alike
  epochs: 10
  learning_rate: 1.0e-4
  # warmup_steps: 500                   # default: 500, or a tenth of the steps if that is less (ours)
  batch_size: 4                         # ours: examples per forward pass on one device
  gradient_accumulation: 8
  weight_decay: 0.0
  max_grad_norm: 1.0                    # ours
  max_length: 1024                      # ours: tokens
  validation_fraction: 0.2
  early_stopping_patience: null         # ours: stop after this many epochs without a lower validation loss
  gradient_checkpointing: false         # ours
  precision: auto                       # ours: bf16 if the hardware has it
  quantization: null                    # ours: 4bit loads the bases in 4 bits (QLoRA; needs bitsandbytes)
  packing: auto                         # ours: no padding with flash- or flex-attention; on, off
  attention: auto                       # ours: transformers' choice; sdpa, flash_attention_2, flex_attention, ...
  chunk_memory_mb: 128                  # ours: memory for the logits of a chunk of tokens
  kernels: auto                         # ours: the Triton kernel if it agrees and is faster; torch, triton
  report_to: none                       # ours: tensorboard, wandb or mlflow, or a list: also send the log there
  seed: 0
alignment:                              # the compatibility adapter; docs/update.md explains each key
  method: paper                         # Eq. 1; or options, answers, every_option, every_answer; or published
                                        #        rivals: churn, pct, ldi, elodi, mpt, relabel, twins, bcwi
  # The method sets the keys behind a "#", shown as in the paper; a key that you set overrides it.
  # unit: tokens                        # ours: or options, of a choice task; answers, candidates of a generation task;
                                        #       weights, which trains nothing
  # texts: reference                    # ours: with unit tokens: or every_option, every_answer (a generation task's
                                        #       candidates), of unlabelled items too
  # target: mask                        # ours: or mixture; for options, answers also labels, reliability, stack,
                                        #       margin, lifted, focal, inhibition, old_answers, twins; with weights:
                                        #       interpolation
  # temperature: 2.0
  # mask: student_wrong                 # or old_right, old_always, token_likelihood, sequence_likelihood (Table 7)
  # ce_weight: 0.0                      # 1 - lambda of Eq. 5
  # old_share: 0.5                      # ours: of mixture, reliability, lifted, inhibition, interpolation
  # sharpness: 2.0                      # ours: of reliability: exponent of a teacher's weight
  # kappa: 1.0                          # ours: of stack: odds by which the old model's answer is raised
  # focal: {alpha: 1.0, beta: 5.0, distance: kl, sources: old}  # ours: of focal; distance logits, sources both
  # inhibition: {xi: 0.5, p: 2.0, top: null, right_option: true}  # ours: of inhibition
  # twins: {agreement: 10.0}            # ours: of twins: weight of their symmetric KL
  # keep_labels: false                  # ours: of old_answers: true uses the old answer only without a label
  # margin_of: old                      # ours: of margin: or higher, of both teachers' margins
  # kl: forward                         # ours: or reverse (not with unit tokens)
  # labels_first: false                 # ours: first train the start on the labels; it is then also the new teacher
  # answers:                            # ours: an item's candidates besides its reference (every_answer too)
  #   models: [old, new]                #   whose greedy answers and samples
  #   samples: 2                        #   of each model
  #   temperature: 1.0                  #   of the samples
  #   normalise: none                   #   or tokens: by log-likelihood per token, for long answers
  #   rest: true                        #   all other answers together count as one option (normalise: none)
  teachers: null                        # ours: [FOLDER, ...]: more adapters on the new base, averaged with the new one
  unlabelled: null                      # ours: FILE, or {TASK: FILE}: inputs without labels (not for Eq. 1)
  unlabelled_epochs: null               # ours: epochs over all inputs if there are unlabelled ones
  start: new                            # ours: or old, fresh
  lora: null                            # ours: e.g. {r: 256}, a larger rank than the adapter it starts from
  selection: own                        # ours: or cross_entropy: the validation loss that picks the epoch
  engine: projected                     # ours: or mixed, hidden, topk, online (docs/engine.md)
  store_precision: auto                 # ours: bf16, fp16, float32
  topk: 64                              # ours: how many tokens a topk store keeps
  projection: chunks                    # ours: maps old tokens to new ones if tokenizers differ; first, pieces
  training: {}                          # keys of `training` that differ here
evaluation:
  backend: hf                           # ours: or vllm (docs/scale.md)
  vllm: {}                              # ours: its arguments, e.g. {tensor_parallel_size: 2, max_model_len: 4096}
  batch_size: 16
  bare_base: true                       # also score the new base without an adapter
  control: true                         # also train the plain update's adapter on for as long, without the old model
  floor: false                          # ours: also train the old adapter again with another seed
  beside: {}                            # ours: further methods to show, e.g. {options: {method: options}}
report:
  title: null
  max_flips: 2000
  texts: true                           # ours: false names items only by id and hash, for reports to pass on
sweep:                                  # ours: what `muscle sweep` compares (docs/sweep.md)
  vary: {}                              # e.g. {alignment.mask: [student_wrong, old_right]}: all combinations
  variants: {}                          # further ones by name: {mixture: {alignment.method: options}}
  presets: []                           # table7, controls, methods, rivals
  seeds: []                             # of training.seed, e.g. [0, 1, 2]
  third: null                           # an unrelated base as teacher instead of the old model, as a control
  controls: true
"""
