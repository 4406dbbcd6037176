"""The tasks on real data, and every refusal as text on small folders laid out like the hub."""

import importlib
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import sweeps
from xfer_ray.core import Trial
from xfer_ray.errors import DataError, DeclarationError, SetupError
from xfer_ray.models import MAJORITY, MBERT
from xfer_ray.sources import Corpus, Example, Examples
from xfer_ray.tasks import PAWSX, PAWSX_PAIRS, TASKS, TYDIQA_AR, TYDIQA_FI, XNLI, XNLI_PAIRS, XQUAD, task
from xfer_ray.tasks.hub import HubPairs
from xfer_ray.tasks.reading import resolve

GERMAN = Corpus.parse("de-HT-en")
ENGLISH = Corpus.parse("en-O")
NS_ROWS = {"de": 68, "es": 38, "fr": 8, "zh": 16, "ja": 20, "ko": 36}  # of the validation split, whose English has none
SMALL = replace(XNLI_PAIRS, repository="owner/nli", languages=("en", "de"), rows={"test": 3, "validation": 3})
SWEEP_FILES = sorted(path.stem for path in Path(sweeps.__path__[0]).glob("[a-z]*.py"))
HERE = "owner/nli, configuration 'de', split 'test': "
GOOD = {"premise": ["a b", "c", "d"], "hypothesis": ["e", "f", "g"], "label": [0, 2, 1]}

# ------------------------------------------------------------------------------ real data


@pytest.fixture
def real(mirror, monkeypatch):
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_xnli_has_fifteen_balanced_parallel_languages(real, split):
    answers = set()
    for corpus in XNLI_PAIRS.corpora(split):
        examples = XNLI.load(corpus, split)
        assert [one.id for one in examples] == [str(row) for row in range(XNLI_PAIRS.rows[split])]
        assert Counter(one.answers for one in examples) == {(label,): len(examples) // 3 for label in XNLI.labels}
        answers.add(tuple(one.answers for one in examples))
    assert len(answers) == 1  # the same answer in every language


def test_xnli_reads_the_sentences_that_stand_there(real):
    premise, hypothesis = "und er hat gesagt, Mama ich bin daheim.", "Er rief seine Mutter an, sobald er aus dem Schulbus stieg."
    assert XNLI.load(GERMAN, "validation")[0] == Example("0", premise, hypothesis, ("neutral",))


def test_pawsx_keeps_and_reports_the_placeholders(real, caplog):
    for corpus in PAWSX.targets:
        caplog.clear()
        assert len(PAWSX.load(corpus, "validation")) == 2_000
        count = NS_ROWS.get(corpus.language)
        assert caplog.messages == (
            [
                f"google-research-datasets/paws-x, configuration '{corpus.language}', split 'validation': {count} of 2000 pairs "
                "hold blank or placeholder text; they are kept, as the policy 'keep' says"
            ]
            if count
            else []
        )


def test_pawsx_rows_align_though_its_ids_do_not_so_labels_differ_only_in_placeholder_rows(real):
    english = {one.id: one.answers for one in PAWSX.load(ENGLISH, "validation")}
    for corpus in PAWSX.targets:
        other = [one for one in PAWSX.load(corpus, "validation") if one.answers != english[one.id]]
        assert all("ns" in (one.first.casefold(), one.second.casefold()) for one in other)


def test_drop_aligned_leaves_the_same_rows_in_every_language(real, caplog):
    aligned = replace(PAWSX_PAIRS, policy="drop-aligned")
    read = [aligned(corpus, "validation") for corpus in PAWSX.targets]
    assert {len(examples) for examples in read} == {1_848}
    assert len({tuple((one.id, one.answers) for one in examples) for examples in read}) == 1
    assert caplog.messages[0].endswith("with the same rows of the other languages, 152 pairs are dropped")


def test_drop_aligned_needs_the_split_in_every_declared_language(real):
    aligned = replace(PAWSX_PAIRS, policy="drop-aligned")
    with pytest.raises(DataError) as refused:
        aligned(GERMAN, "test")
    assert str(refused.value) == (
        "the policy 'drop-aligned' needs the split in all of en, de, es, fr, zh, ja, ko: "
        "google-research-datasets/paws-x, configuration 'es': no split 'test'; found: validation"
    )
    four = replace(aligned, languages=("en", "de", "zh", "ko"))
    assert len(four(GERMAN, "test")) == len(four(ENGLISH, "test")) == 1_929


def test_the_hub_reader_gives_what_the_mirror_reader_gives(mirror, monkeypatch, tmp_path):
    """A folder given as the repository goes the way of the hub: prepared in a cache by `datasets`."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    fetched = replace(XNLI_PAIRS, repository=str(mirror / "facebook/xnli"))
    monkeypatch.delenv("XFER_RAY_MIRROR", raising=False)
    prepared = Examples(tuple(fetched(GERMAN, "validation")))
    monkeypatch.setenv("XFER_RAY_MIRROR", str(mirror))
    assert prepared.fingerprint == Examples(tuple(XNLI_PAIRS(GERMAN, "validation"))).fingerprint


# ------------------------------------------------------------------------------ refusals


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty mirror whose repository owner/nli is filled by `write`."""
    monkeypatch.setenv("XFER_RAY_MIRROR", str(tmp_path))
    return tmp_path / "owner" / "nli"


def write(folder: Path, frame: pd.DataFrame, *, languages: tuple[str, ...] = ("en", "de"), split: str = "test") -> Path:
    """The same frame in every language; the path of the last file."""
    configs = [f"- config_name: {code}\n  data_files:\n  - split: {split}\n    path: {code}/{split}-*\n" for code in languages]
    for code in languages:
        (folder / code).mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / code / f"{split}-00000-of-00001.parquet", index=False)
    (folder / "README.md").write_text("---\nconfigs:\n" + "".join(configs) + "---\n")
    return folder / code / f"{split}-00000-of-00001.parquet"


def test_a_changed_file_is_seen(folder):
    path = write(folder, pd.DataFrame(GOOD))
    before = SMALL(GERMAN, "test")
    assert [one.answers for one in before] == [("entailment",), ("contradiction",), ("neutral",)]
    when = path.stat()
    write(folder, pd.DataFrame(GOOD | {"premise": ["A b", "c", "d"]}))
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert (before[0].first, SMALL(GERMAN, "test")[0].first) == ("a b", "A b")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"hypothesis": None}, "no column hypothesis; found: premise, label"),
        ({"label": [0, 3, 1]}, "label 3 in row 1 is none of 0 (entailment), 1 (neutral), 2 (contradiction)"),
        ({"label": [0, 1, -1]}, "label -1 in row 2 is none of 0 (entailment), 1 (neutral), 2 (contradiction)"),
        ({"label": [0, 1, None]}, "label None in row 2 is none of 0 (entailment), 1 (neutral), 2 (contradiction)"),
        ({"label": ["0", "1", "2"]}, "label '0' in row 0 is none of 0 (entailment), 1 (neutral), 2 (contradiction)"),
        (
            {"premise": ["a", " \t", ""]},
            "2 of 3 pairs hold blank text, the first in row 1; repair them, or declare the policy 'keep' or 'drop-aligned'",
        ),
        (
            {"hypothesis": ["e", "f", None]},
            "1 of 3 pairs hold blank text, the first in row 2; repair them, or declare the policy 'keep' or 'drop-aligned'",
        ),
        ({"premise": [7, 8, 9]}, "premise 7 in row 0 is not text"),
    ],
)
def test_unfit_columns_are_refused(folder, changed, sentence):
    columns = GOOD | changed
    write(folder, pd.DataFrame({name: values for name, values in columns.items() if values is not None}))
    with pytest.raises(DataError) as refused:
        SMALL(GERMAN, "test")
    assert str(refused.value) == HERE + sentence
    assert refused.value.exit_code == 3


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_rows_is_refused_with_both_numbers(folder, count):
    write(folder, pd.DataFrame(GOOD).head(count))
    with pytest.raises(DataError) as refused:
        SMALL(GERMAN, "test")
    assert str(refused.value) == f"{HERE}found {count} rows, and 3 are declared; this is another edition, or a part of it"


def test_a_missing_split_is_refused_with_those_that_are_there(folder):
    write(folder, pd.DataFrame(GOOD))
    with pytest.raises(DataError) as refused:
        SMALL(GERMAN, "validation")
    assert str(refused.value) == "owner/nli, configuration 'de': no split 'validation'; found: test"


def test_a_missing_configuration_is_refused_with_those_that_are_there(folder):
    write(folder, pd.DataFrame(GOOD), languages=("en",))
    with pytest.raises(DataError) as refused:
        SMALL(GERMAN, "test")
    assert str(refused.value) == HERE + "BuilderConfig 'de' not found. Available: ['en']"


def test_a_file_that_is_no_parquet_is_refused(folder):
    write(folder, pd.DataFrame(GOOD)).write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError) as refused:
        SMALL(GERMAN, "test")
    assert str(refused.value).startswith(HERE + "Parquet magic bytes not found in footer.")


def test_a_mirror_without_the_repository_is_refused_with_those_that_are_there(folder):
    write(folder, pd.DataFrame(GOOD))
    with pytest.raises(SetupError) as refused:
        replace(SMALL, repository="owner/nil")(GERMAN, "test")
    assert str(refused.value) == f"the mirror {folder.parents[1]} has no folder owner/nil; possible: owner/nli"
    assert refused.value.exit_code == 4


def test_a_hub_out_of_reach_is_a_matter_of_set_up(monkeypatch):
    monkeypatch.delenv("XFER_RAY_MIRROR", raising=False)
    with pytest.raises(SetupError) as refused:
        replace(XNLI_PAIRS, repository="facebook/xnli-absent")(GERMAN, "test")
    assert str(refused.value).startswith("facebook/xnli-absent, configuration 'de', split 'test': ")
    assert str(refused.value).endswith("; a folder laid out like the hub can stand in for it: --mirror DIR")


def test_the_revision_is_the_declared_one_or_says_where_the_data_comes_from(folder, monkeypatch):
    write(folder, pd.DataFrame(GOOD))
    assert resolve("owner/nli", "0" * 40) == "mirror"
    with pytest.raises(SetupError, match=r"has no folder owner/nil; possible: owner/nli$"):
        resolve("owner/nil")
    monkeypatch.delenv("XFER_RAY_MIRROR")
    assert resolve(str(folder)) == "local"
    assert resolve("owner/nli", "0" * 40) == "0" * 40
    with pytest.raises(SetupError, match=r"^data set owner/nli: .*; a folder laid out like the hub can stand in for it: --mirror DIR$"):
        resolve("owner/nli")


def test_the_newest_commit_is_that_of_the_copy_in_the_cache_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.delenv("XFER_RAY_MIRROR", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "datasets--owner--nli"
    (kept / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (kept / "snapshots" / ("a" * 40) / "README.md").write_text("---\n---\n")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    assert resolve("owner/nli") == "a" * 40


def test_a_provenance_that_the_split_does_not_hold_is_refused():
    with pytest.raises(DataError) as refused:
        XNLI.load(GERMAN, "train")
    assert str(refused.value) == "split 'train' of facebook/xnli holds de-MT-en, not de-HT-en"


def test_unknown_names_are_refused_with_a_hint():
    with pytest.raises(DeclarationError, match=r"^no language of facebook/xnli 'ja'\. Possible: en, de, es, fr, "):
        XNLI.load(Corpus.parse("ja-HT-en"), "test")
    with pytest.raises(DeclarationError, match=r"^no split of facebook/xnli 'tests'; did you mean 'test'\? Possible: train, "):
        XNLI.load(GERMAN, "tests")
    with pytest.raises(DeclarationError, match=r"^no task 'pawx'; did you mean 'pawsx'\? Possible: xnli, pawsx"):
        task("pawx")
    with pytest.raises(DeclarationError, match=r"^no policy 'drop'.* Possible: keep, drop-aligned$"):
        replace(XNLI_PAIRS, policy="drop")
    with pytest.raises(DeclarationError, match=r"^revision 'main' of facebook/xnli is not a commit of 40 hex digits; "):
        replace(XNLI_PAIRS, revision="main")


# ------------------------------------------------------------------------------ declarations


def test_what_is_read_is_in_the_digest_and_what_is_expected_of_it_is_not():
    trial = Trial(XNLI, MAJORITY, ENGLISH, 0)

    def digest(load: HubPairs) -> str:
        return replace(trial, task=replace(XNLI, load=load)).digest

    assert digest(replace(XNLI_PAIRS, rows={"train": 1})) == trial.digest
    assert digest(replace(XNLI_PAIRS, policy="keep")) != trial.digest
    assert digest(replace(XNLI_PAIRS, revision="0" * 40)) != trial.digest


def _spelled(printed: str) -> str:
    """en^o, de^MT and fi^o->en^MT as en-O, de-MT-en and en-MT-fi."""
    origin, _, translation = printed.rpartition("->")
    return translation.replace("^o", "-O").replace("^MT", f"-MT-{origin.partition('^')[0] or 'en'}")


def test_the_trials_of_encoders_keep_their_names_from_release_to_release():
    """Changing these values disowns every result that exists: do it knowingly."""
    assert Trial(XNLI, MBERT, ENGLISH, 0).digest == "37ad3805d64c"
    assert Trial(PAWSX, MBERT, ENGLISH, 0).digest == "934f98d52111"


def test_how_a_text_to_text_model_reads_is_in_its_own_digest_only():
    text_to_text = replace(MBERT, name="t5", family="text_to_text")
    for one in (XNLI, PAWSX):
        plain = replace(one, prompt="{first} {second}", verbalizers=())
        assert Trial(plain, MBERT, ENGLISH, 0).digest == Trial(one, MBERT, ENGLISH, 0).digest
        assert Trial(plain, text_to_text, ENGLISH, 0).digest != Trial(one, text_to_text, ENGLISH, 0).digest
    assert (XNLI.prompt, XNLI.verbalizers) == ("xnli: premise: {first} hypothesis: {second}", ("0", "1", "2"))
    assert (PAWSX.prompt, PAWSX.verbalizers) == ("paws sentence1: {first} sentence2: {second}", ("different_meaning", "paraphrase"))


def test_a_checkpoint_is_chosen_on_the_human_translation_of_the_dev_set():
    assert str(XNLI.select_corpus(Corpus.parse("de-MT-en"))) == "de-HT-en"
    assert str(XNLI.select_corpus(Corpus.parse("en-MT-de-MT-en"))) == "en-O"
    assert str(PAWSX.select_corpus(Corpus.parse("ja-MT-en"))) == "ja-HT-en"


def test_the_tasks_are_those_of_the_tables(paper):
    for one, table in (
        (XNLI, "table2.csv"),
        (PAWSX, "table3.csv"),
        (XQUAD, "table5.csv"),
        (TYDIQA_FI, "table6.csv"),
        (TYDIQA_AR, "table8.csv"),
    ):
        printed = pd.read_csv(paper / table)
        columns = [name.replace("^o", "-O").replace("^HT", "-HT-en") for name in printed.columns[2:] if "^" in name]
        rows = [_spelled(name) for name in printed["source"].drop_duplicates()]
        assert [str(target) for target in one.targets] == columns
        assert [str(source) for source in one.sources][: len(rows)] == rows
        assert len(one.sources) == (11 if one is XQUAD else len(rows))  # XTREME translated SQuAD into ten languages, not two
        assert [*one.groups, "All"] == [name.removeprefix("->") for name in printed.columns[2 + len(columns) :]]


@pytest.mark.parametrize("one", TASKS, ids=lambda one: one.name)
def test_every_task_has_a_licence_and_those_of_others_are_cited_and_grouped(one):
    assert one.licence
    if isinstance(one.load, HubPairs):
        assert one.citation
        assert sorted(member for members in one.groups.values() for member in members) == sorted(t.language for t in one.targets)


@pytest.mark.parametrize("name", SWEEP_FILES)
def test_every_sweep_declares_trials_with_ids_of_their_own(name):
    module = importlib.import_module(f"sweeps.{name}")
    if hasattr(module, "PRETRAINING"):  # what `xfer-ray pretrain` reads
        assert not hasattr(module, "SWEEP")
        return
    sweep = module.SWEEP
    assert len({trial.id for trial in sweep.trials}) == len(sweep.trials)


def test_the_sweeps_have_the_size_that_the_tables_ask_for():
    from sweeps import pawsx, pawsx_mirror, xnli, xnli_mirror, xnli_swapped

    assert [len(one.SWEEP.trials) for one in (xnli, pawsx, xnli_swapped, xnli_mirror, pawsx_mirror)] == [60, 42, 87, 15, 21]
    assert {trial.source for trial in xnli_swapped.SWEEP.trials} == {*XNLI.targets, *XNLI.sources}


def test_declaring_a_sweep_loads_no_heavy_package():
    code = (
        f"import sys, importlib\nfor name in {SWEEP_FILES}: importlib.import_module('sweeps.' + name)\n"
        "print(*({'torch', 'transformers', 'datasets', 'ray', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
