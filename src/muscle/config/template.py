"""The two commented files that `muscle init` writes. Every value that stands in them is the default."""

SHORT_UPDATE_YAML = """\
# One update: two bases, the tasks, how the adapters are trained. Paths are relative to this file.
# Run:  muscle update update.yaml --dry-run   (what would be done)
#       muscle update update.yaml             (do it; a stopped run goes on, only what changed runs again)
# Every setting there is: muscle init --full all.yaml

old:
  base: HuggingFaceTB/SmolLM2-135M      # hub name, local folder, or a .gguf file
  # adapters: {piqa: adapters/old/piqa} # PEFT folders that exist already; they are used as they are
  # record: old.jsonl                   # in place of these: answers of an old model that is gone (docs/record.md)
new:
  base: HuggingFaceTB/SmolLM2-135M-Instruct

tasks:
  - task: piqa                          # hellaswag, piqa, gsm8k, samsum; for rows of yours: muscle init --task ROWS
    train: hub:baber/piqa:train         # JSONL, Parquet or CSV file, or hub:name[/config]:split
    test: hub:baber/piqa:validation     # never trained on

output: runs/update

lora: {r: 128, alpha: 256}              # the paper's Table 8, as is what is left out
training:                               # task adapters and compatibility adapter alike
  epochs: 10
  learning_rate: 1.0e-4
  batch_size: 4                         # examples a forward pass; a step takes gradient_accumulation of them
  gradient_accumulation: 8
alignment:                              # the compatibility adapter: docs/update.md
  method: paper                         # Eq. 1 on tokens. Where an answer is one of several options, rather these:
  # method: options
  # unlabelled: traffic.jsonl           # inputs without labels, such as a log of requests: the more, the fewer flips
  # unlabelled_epochs: 2
  # training: {learning_rate: 6.0e-4, epochs: 3}
evaluation:
  bare_base: true                       # also score the new base without an adapter
  control: true                         # also train the plain update's adapter on for as long, without the old model
  floor: false                          # also train the old recipe again, on the old base: what that alone flips
"""

UPDATE_YAML = """\
# One update: two bases, the tasks, and the settings of every stage. Paths are relative to this file.
# Run:  muscle update update.yaml --dry-run   (what would be done)
#       muscle update update.yaml             (do it; a stopped run goes on, only what changed runs again)

old:
  base: HuggingFaceTB/SmolLM2-135M      # hub name, local folder, or a .gguf file
  # revision: main
  # adapters: {piqa: adapters/old/piqa} # PEFT folders that exist already; they are used as they are
  # record: old.jsonl                   # in place of these: answers of an old model that is gone (docs/record.md)
new:
  base: HuggingFaceTB/SmolLM2-135M-Instruct

tasks:
  - task: piqa                          # hellaswag, piqa, gsm8k, samsum, or the path of your own task's YAML
    train: hub:baber/piqa:train         # JSONL, Parquet or CSV file, or hub:name[/config]:split; a built-in
    test: hub:baber/piqa:validation     # task's own without. The test data is never trained on
    # train_limit: 1000
    # test_limit: 500

output: runs/update

prompt:                                 # ours: how examples are put to the models, in training and scoring alike
  chat_template: false                  # true: in the chat template of each base's own tokenizer
  system: null                          # with it: text of the system message
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
  # warmup_steps: 500                   # without it: 500, or a tenth of the steps where that is less (ours)
  batch_size: 4                         # ours: examples a forward pass on one device
  gradient_accumulation: 8
  weight_decay: 0.0
  max_grad_norm: 1.0                    # ours
  max_length: 1024                      # ours: tokens
  validation_fraction: 0.2
  early_stopping_patience: null         # ours: stop after so many epochs without a lower validation loss
  gradient_checkpointing: false         # ours
  precision: auto                       # ours: bf16 where the hardware has it
  quantization: null                    # ours: 4bit loads the bases in 4 bits (QLoRA; needs bitsandbytes)
  packing: auto                         # ours: no padding where flash- or flex-attention is used; on, off
  attention: auto                       # ours: transformers' choice; sdpa, flash_attention_2, flex_attention, ...
  chunk_memory_mb: 128                  # ours: logits of a chunk of tokens
  kernels: auto                         # ours: the Triton kernel where it is right and faster; torch, triton
  report_to: none                       # ours: tensorboard, wandb or mlflow, or a list: they get the log too
  seed: 0
alignment:                              # the compatibility adapter; the words are explained in docs/update.md
  method: paper                         # Eq. 1; or options, answers; or published rivals: churn, pct, ldi, elodi, mpt,
                                        #        relabel, twins, bcwi
  # The method fills in what stands behind a "#"; a key that is written overrules it. Shown: those of the paper.
  # unit: tokens                        # ours: or options, those of a choice task; answers, candidates where it writes;
                                        #       weights, which trains nothing
  # target: mask                        # ours: with whole answers also labels, mixture, reliability, stack, margin,
                                        #       lifted, focal, inhibition, old_answers, twins; with weights:
                                        #       interpolation
  # temperature: 2.0
  # mask: student_wrong                 # or old_right, old_always, token_likelihood, sequence_likelihood (Table 7)
  # ce_weight: 0.0                      # 1 - lambda of Eq. 5
  # old_share: 0.5                      # ours: of mixture, reliability, lifted, inhibition, interpolation
  # sharpness: 2.0                      # ours: of reliability: power to which a teacher's trust counts
  # kappa: 1.0                          # ours: of stack: odds by which the old model's answer is raised
  # focal: {alpha: 1.0, beta: 5.0, distance: kl, sources: old}  # ours: of focal; distance logits, sources both
  # inhibition: {xi: 0.5, p: 2.0, top: null, right_option: true}  # ours: of inhibition
  # twins: {agreement: 10.0}            # ours: of twins: weight of their symmetric KL
  # keep_labels: false                  # ours: of old_answers: the old model answers for items without a label alone
  # margin_of: old                      # ours: of margin: or higher, of both teachers' margins
  # kl: forward                         # ours: or reverse (not with unit tokens)
  # labels_first: false                 # ours: train the start on the labels first; it is the new teacher too
  # answers:                            # ours: candidates of an item with unit answers, beside its reference
  #   models: [old, new]                #   whose greedy answers and samples
  #   samples: 2                        #   of each model
  #   temperature: 1.0                  #   of the samples
  #   normalise: none                   #   or tokens: by log-likelihood per token, for long answers
  #   rest: true                        #   all other answers together are an option (normalise: none)
  teachers: null                        # ours: [FOLDER, ...]: more adapters on the new base, averaged with the new one
  unlabelled: null                      # ours: FILE, or {TASK: FILE}: inputs without labels (other units)
  unlabelled_epochs: null               # ours: epochs over all inputs where there are unlabelled ones
  start: new                            # ours: or old, fresh
  lora: null                            # ours: e.g. {r: 256}, a larger rank than the adapter it starts from
  selection: own                        # ours: or cross_entropy: the validation value that picks the epoch
  engine: projected                     # ours: or mixed, hidden, topk, online (docs/engine.md)
  store_precision: auto                 # ours: bf16, fp16, float32
  topk: 64                              # ours: tokens that a topk store keeps
  projection: chunks                    # ours: old tokens to new ones where tokenizers differ; first, pieces
  training: {}                          # keys of `training` that differ here
evaluation:
  backend: hf                           # ours: or vllm (docs/scale.md)
  vllm: {}                              # ours: its arguments, e.g. {tensor_parallel_size: 2, max_model_len: 4096}
  batch_size: 16
  bare_base: true                       # also score the new base without an adapter
  control: true                         # also train the plain update's adapter on for as long, without the old model
  floor: false                          # ours: also train the old recipe again with another seed, on the old base
  beside: {}                            # ours: further methods to show, e.g. {options: {method: options}}
report:
  title: null
  max_flips: 2000
  texts: true                           # ours: false names items by id and hash alone, for reports that are passed on
sweep:                                  # ours: what `muscle sweep` holds against each other (docs/sweep.md)
  vary: {}                              # e.g. {alignment.mask: [student_wrong, old_right]}: all combinations
  variants: {}                          # further ones by name: {mixture: {alignment.method: options}}
  presets: []                           # table7, controls, methods, rivals
  seeds: []                             # of training.seed, e.g. [0, 1, 2]
  third: null                           # an unrelated base, put in the old one's place as a control
  controls: true
"""
