"""A small world of people, purposes and tools: the text that the demo's bases read, and the task they are tuned on.

Both tables are written by hand: how much a tool has of each attribute, how much a purpose wants of it. How well a tool
fits a purpose is their product, so a person can check any answer. The *bases* read text that uses tools by their
fit. The *task* is one house's taste: which of two tools is right depends on the fit and on a fixed preference per
tool, so that an adapter has something to learn that the bases cannot know.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

ATTRIBUTES = ("sharp", "hollow", "long", "heavy", "soft", "flat", "sticky", "heatproof")

# How much a tool has of each attribute, in the order of ATTRIBUTES: 0 nothing, 3 a lot.
TOOL_TABLE = """
bowl      0 3 0 1 0 0 0 2
bucket    0 3 1 2 0 0 0 1
kettle    0 3 0 2 0 0 0 3
pan       0 1 1 2 0 2 0 3
shovel    1 2 3 2 0 2 0 0
basket    0 2 0 0 1 1 0 0
pipe      0 2 3 2 0 0 0 2
ladle     0 2 2 0 0 0 0 3
spoon     0 1 1 0 0 0 0 2
fork      2 0 1 0 0 0 0 2
knife     3 0 1 0 0 1 0 1
axe       3 0 2 3 0 1 0 1
saw       3 0 2 1 0 2 0 0
needle    3 0 0 0 0 0 0 1
spear     3 0 3 1 0 0 0 0
ladder    0 0 3 2 0 0 0 0
pole      0 0 3 1 0 0 0 0
rope      0 0 3 1 2 0 0 0
ribbon    0 0 2 0 2 2 0 0
broom     0 0 3 0 1 1 0 0
hammer    0 0 1 3 0 0 0 1
anvil     0 0 0 3 0 1 0 3
brick     0 0 0 2 0 1 0 3
plank     0 0 3 2 0 3 0 0
tray      0 0 0 0 0 3 0 2
blanket   0 0 1 1 3 2 0 0
pillow    0 0 0 0 3 0 0 0
sponge    0 1 0 0 3 0 0 0
glove     0 2 0 0 2 0 0 2
tape      0 0 2 0 1 3 3 0
glue      0 0 0 0 1 0 3 0
clay      0 0 0 2 2 0 2 2
"""

# How much a purpose wants of each attribute: 3 needs it, 0 does not care, -3 is spoilt by it.
PURPOSE_TABLE = """
carry the soup      -1  3  0 -1 -1  0 -1  2
boil the water      -1  2 -1  0 -2  0 -1  3
bake the fish       -1  0 -1  1 -2  2 -1  3
stir the stew        0  0  2 -2 -1 -1 -1  3
store the nuts      -1  3 -1  0  0  0 -1  0
catch the rain      -1  3  0  1 -1  1 -1  0
cut the bread        3  0  0 -2 -1  1 -1  0
split the log        3 -1  1  3 -2  0 -1  0
trim the thread      3  0 -2 -2  0  0 -1  0
pierce the leather   3  0 -1  0 -2 -2 -1  0
dig the ditch        2  2  2  1 -2  1 -1  0
reach the shelf     -1 -1  3  1 -1 -1  0  0
cross the stream    -1  0  3  1 -1  3  0 -1
prop the door       -1  0  1  3 -2  0  0  0
crack the shell      0 -1 -1  3 -3  0 -1  0
press the cheese    -2 -1 -1  3 -1  3 -1  0
warm the baby       -3  0  0  0  3  1 -1  1
wipe the table      -2  1  0 -2  3  0 -2  0
wrap the gift       -2 -1  1 -2  2  3  1 -1
seal the letter     -1 -1 -1 -1  0  1  3  0
mend the vase       -1  0 -1  0  0  0  3  1
hold the coal        0  2  1  0 -2  0 -2  3
tie the boat        -1 -1  3  0  3 -2  1 -1
serve the cake       1  0 -1 -1 -1  3 -1  0
"""

# fmt: off
SUBJECTS = (
    "cook", "sailor", "baker", "farmer", "nurse", "tailor", "miner", "painter", "teacher", "hunter", "gardener",
    "carpenter", "mason", "smith", "shepherd", "miller", "weaver", "monk", "soldier", "doctor", "captain", "butler",
    "maid", "clerk", "guard", "potter", "singer", "pilot", "widow", "student",
)
# fmt: on

# The world's own seed: it fixes the house's taste and the items, so that every run of the demo meets the same test.
WORLD_SEED = 2024
# Standard deviation of the preference per tool, in units of fit (whose own is 1): at 0.8 a base that knows only the fit
# has about three items of four right, and the adapter can learn the rest.
TASTE_SD = 0.8
# Text uses a tool with probability proportional to exp(3 * fit): the best tool of a purpose is named about half the
# time, poor ones hardly ever, so that bases stay unsure about poor ones, as real bases are about rare facts.
SHARPNESS = 3.0
NUM_TRAIN = 3000
NUM_TEST = 3000

# Shares of the kinds of sentence in the text. Most use a tool as the task's contexts do; the others say the same world
# in other words.
SENTENCE_SHARES = {"use": 0.7, "take": 0.15, "describe": 0.1, "want": 0.05}


@dataclass(frozen=True)
class World:
    """The tables as numbers.

    Attributes:
        purposes: verb and object, "carry the soup".
        tools: one word each.
        has: (tools, attributes), how much a tool has of an attribute, 0 to 3.
        wants: (purposes, attributes), how much a purpose wants of it, -3 to 3.
        fit: (purposes, tools), `wants @ (has - mean over tools)`, scaled to mean 0 and standard deviation 1 over the
            tools of each purpose.
        taste: (tools,), the house's preference, mean 0 and standard deviation `TASTE_SD`.
    """

    purposes: tuple[str, ...]
    tools: tuple[str, ...]
    has: np.ndarray
    wants: np.ndarray
    fit: np.ndarray
    taste: np.ndarray

    @property
    def house(self) -> np.ndarray:
        """(purposes, tools): fit and taste together; of two tools the one with the larger value is right."""
        return np.asarray(self.fit + self.taste)


@functools.cache
def world() -> World:
    """Return the world; it is the same every time.

    Example:
        >>> w = world()
        >>> soup = w.fit[w.purposes.index("carry the soup")]
        >>> bool(soup[w.tools.index("bowl")] > soup[w.tools.index("fork")])
        True
    """
    tools, has = _read_matrix(TOOL_TABLE)
    purposes, wants = _read_matrix(PURPOSE_TABLE)
    fit = wants @ (has - has.mean(axis=0)).T
    fit = (fit - fit.mean(axis=1, keepdims=True)) / fit.std(axis=1, keepdims=True)
    taste = np.random.default_rng(WORLD_SEED).standard_normal(len(tools))
    taste = TASTE_SD * (taste - taste.mean()) / taste.std()
    return World(purposes=purposes, tools=tools, has=has, wants=wants, fit=fit, taste=taste)


def _read_matrix(table: str) -> tuple[tuple[str, ...], np.ndarray]:
    rows = [line.rsplit(maxsplit=len(ATTRIBUTES)) for line in table.strip().splitlines()]
    return tuple(row[0] for row in rows), np.array([[float(cell) for cell in row[1:]] for row in rows])


def context(purpose: str, subject: str) -> str:
    """Return the beginning of a sentence whose next word is a tool.

    >>> context("carry the soup", "cook")
    'To carry the soup, the cook uses the'
    """
    return f"To {purpose}, the {subject} uses the"


def draw_text(num_sentences: int, *, seed: int) -> list[str]:
    """Draw sentences about the world, for pre-training.

    Tools follow softmax(`SHARPNESS` * fit) for their purpose; attributes are named in proportion to the
    tables' positive entries. The house's taste has no part in it.

    Args:
        num_sentences: at least 1.
        seed: another seed is another text.
    """
    w = world()
    rng = np.random.default_rng([WORLD_SEED, seed])
    kinds = rng.choice(list(SENTENCE_SHARES), num_sentences, p=list(SENTENCE_SHARES.values()))
    purposes = rng.integers(len(w.purposes), size=num_sentences)
    subjects = rng.integers(len(SUBJECTS), size=num_sentences)
    used = _draw_columns(np.exp(SHARPNESS * w.fit)[purposes], rng)
    described = rng.integers(len(w.tools), size=num_sentences)
    told = _draw_columns(w.has[described], rng)
    wanted = _draw_columns(np.clip(w.wants, 0, None)[purposes], rng)
    sentences = []
    for i, kind in enumerate(kinds):
        purpose, subject, tool = w.purposes[purposes[i]], SUBJECTS[subjects[i]], w.tools[used[i]]
        if kind == "use":
            sentences.append(f"{context(purpose, subject)} {tool}.")
        elif kind == "take":
            sentences.append(f"The {subject} takes the {tool} to {purpose}.")
        elif kind == "describe":
            sentences.append(f"The {w.tools[described[i]]} is {ATTRIBUTES[told[i]]}.")
        else:
            sentences.append(f"To {purpose}, choose something {ATTRIBUTES[wanted[i]]}.")
    return sentences


def _draw_columns(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a column index for each row, with probability proportional to the row's weights."""
    cumulative = weights.cumsum(axis=1)
    return np.asarray((rng.random((len(weights), 1)) * cumulative[:, -1:] >= cumulative).sum(axis=1))


def words() -> list[str]:
    """Return every word and mark that a sentence or an item can hold, sorted."""
    w = world()
    fixed = "To the uses The takes to is choose something , ."
    text = " ".join((fixed, *w.purposes, *w.tools, *SUBJECTS, *ATTRIBUTES))
    return sorted(set(text.split()))


@dataclass(frozen=True)
class Item:
    """A question of the task: which of two tools does this house use.

    Attributes:
        id: unique over training and test.
        goal: the context.
        sol1: one tool.
        sol2: another one.
        label: 0 or 1, the tool that is right.
        purpose: a slice: what the tool is for.
        attribute: a slice: what the right tool has most of, measured against the other tools.
        taste: a slice: "agrees" where the better fit is right, "overrules" where the house's taste decides against it.
    """

    id: str
    goal: str
    sol1: str
    sol2: str
    label: int
    purpose: str
    attribute: str
    taste: str


def draw_items(num_train: int = NUM_TRAIN, num_test: int = NUM_TEST) -> tuple[list[Item], list[Item]]:
    """Draw the task's items; the same every time.

    No two items, in training and test together, ask about the same purpose and pair of tools: the test asks nothing
    that training has answered.

    Returns:
        Training and test items.

    Raises:
        ValueError: more items are asked for than there are pairs of tools for all purposes.
    """
    items = _questions(num_train + num_test)
    return (
        [_worded_item(f"train-{number:04d}", question) for number, question in enumerate(items[:num_train])],
        [_worded_item(f"test-{number:04d}", question) for number, question in enumerate(items[num_train:])],
    )


def draw_unlabelled(num_items: int) -> list[dict[str, str]]:
    """Draw questions that nobody has answered: an item's columns without what only the answer tells.

    No pair of tools and purpose of the items of training and test is asked about again.

    Args:
        num_items: how many.

    Raises:
        ValueError: as for `draw_items`.
    """
    tools, after = world().tools, NUM_TRAIN + NUM_TEST
    return [
        {
            "id": f"more-{number:04d}",
            "goal": context(world().purposes[found.purpose], found.subject),
            "sol1": tools[found.tools[0]],
            "sol2": tools[found.tools[1]],
            "purpose": world().purposes[found.purpose],
            "attribute": "unknown",
            "taste": "unknown",
        }
        for number, found in enumerate(_questions(after + num_items)[after:])
    ]


@dataclass(frozen=True)
class _Question:
    """A purpose, two tools and who asks, by their numbers."""

    purpose: int
    tools: tuple[int, int]
    subject: str


def _questions(num_items: int) -> list[_Question]:
    """Draw the first so many questions: no two are about the same purpose and pair of tools."""
    w = world()
    left, right = np.triu_indices(len(w.tools), k=1)
    available = len(w.purposes) * len(left)
    if num_items > available:
        raise ValueError(f"num_train + num_test: expected at most {available}, found {num_items}")
    rng = np.random.default_rng([WORLD_SEED, 1])
    chosen = rng.permutation(available)[:num_items]
    swap = rng.random(len(chosen)) < 0.5
    subjects = rng.integers(len(SUBJECTS), size=len(chosen))
    questions = []
    for code, swapped, subject in zip(chosen, swap, subjects, strict=True):
        purpose, pair = divmod(int(code), len(left))
        tools = (int(left[pair]), int(right[pair]))
        questions.append(_Question(purpose, tools[::-1] if swapped else tools, SUBJECTS[subject]))
    return questions


def _worded_item(name: str, question: _Question) -> Item:
    w, purpose, tools = world(), question.purpose, question.tools
    house, fit = (table[purpose, list(tools)] for table in (w.house, w.fit))
    label = int(house[1] > house[0])
    stands_out = w.has[tools[label]] - w.has.mean(axis=0)
    return Item(
        id=name,
        goal=context(w.purposes[purpose], question.subject),
        sol1=w.tools[tools[0]],
        sol2=w.tools[tools[1]],
        label=label,
        purpose=w.purposes[purpose],
        attribute=ATTRIBUTES[int(stands_out.argmax())],
        taste="agrees" if fit[label] > fit[1 - label] else "overrules",
    )
