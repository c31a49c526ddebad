"""LoRA laws, and what the loop promises."""

import pytest
import torch

from ml_worker.job_folders import JobRefused
from ml_worker.nli import NliModel
from ml_worker.training import artifacts, lora
from ml_worker.training.nli_lora import Interrupted, Watchers, epoch_order, learning_rate_factor, warmup_steps
from ml_worker.training.training_data import prepare_data, texts
from schema.jobs import NLI_LORA_RECIPES, NliLoraRecipe, Sample
from schema.wire import Pair


def weights(training):
    return {name: p.detach().clone() for name, p in training.trained.items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


class StopAt:
    """Asks to stop once the given number of steps was seen."""

    def __init__(self, step):
        self.step, self.seen = step, 0

    def on_step(self, training):
        self.seen = training.position.step

    def should_stop(self):
        return self.seen >= self.step


def test_a_fresh_adapter_answers_as_the_base_bit_for_bit(make_training, base):
    training = make_training()
    pairs = texts(training.data.parts.holdout)
    pairs.sort(key=lambda pair: len(pair[0]) + len(pair[1]))  # the same batch for both
    plain = NliModel(base, torch.device("cpu"))

    encoded = plain.encode([Pair(premise=p, hypothesis=h) for p, h in pairs])
    expected = plain.judge(encoded, None, representation=False)

    found = training.logits(pairs).tolist()
    assert found == [[judgement.logits.of(label) for label in base.labels] for judgement in expected]


def test_only_adapter_and_head_learn(make_training):
    training = make_training()
    kinds = {"lora" if ".lora_" in name else name.split(".")[2] for name in training.trained}

    assert kinds == {"lora", "classifier"}


def test_the_bases_weights_are_the_same_after_training(make_training):
    training = make_training()
    before = lora.frozen_sha256(training.model)
    training.run()

    assert lora.frozen_sha256(training.model) == before


def test_the_number_of_low_rank_parameters_follows_the_formula(make_training):
    training = make_training(recipe=NliLoraRecipe(rank=8))

    assert lora.lora_parameters(training.model) == 2 * 2 * 8 * (32 + 32)  # layers * targets * r * (d + k)


def test_the_rule_behind_the_corrections_is_learned(make_training, make_samples, recipe):
    training = make_training(samples=make_samples(300), recipe=recipe.model_copy(update={"epochs": 8, "alpha": 8}))
    unseen = make_samples(60, seed=99)

    def accuracy():
        columns = training.logits(texts(unseen)).argmax(-1).tolist()
        return sum(training.base.labels[c] == s.label for c, s in zip(columns, unseen, strict=True)) / 60

    before = accuracy()
    training.run()

    assert before < 0.6
    assert accuracy() > 0.9


def test_labels_without_a_rule_do_not_reach_a_useful_accuracy(make_training, make_samples):
    training = make_training(samples=make_samples(120, shuffled=True))
    training.run()
    held = training.data.parts.holdout
    columns = training.logits(texts(held)).argmax(-1).tolist()

    assert sum(training.base.labels[c] == s.label for c, s in zip(columns, held, strict=True)) / len(held) < 0.7


def test_labels_without_a_rule_stop_the_training_early(make_training, make_samples):
    recipe = NliLoraRecipe(targets="linear", learning_rate=0.005, epochs=30, patience=2)
    training = make_training(samples=make_samples(120, shuffled=True), recipe=recipe)
    training.run()

    assert training.position.stopped_by == "early_stopping"
    assert training.position.best_epoch <= training.position.epoch - 2


def test_the_weights_of_the_best_epoch_are_kept(make_training):
    training = make_training()
    training.run()
    losses = [line["validation_loss"] for line in training.position.curve if "validation_loss" in line]
    gold = torch.tensor([training.base.labels.index(s.label) for s in training.data.parts.validation])
    found = torch.nn.functional.cross_entropy(training.logits(texts(training.data.parts.validation)).double(), gold)

    assert found.item() == min(losses)
    assert losses.index(min(losses)) == training.position.best_epoch


def test_the_same_seed_gives_the_same_bytes(make_training, make_job):
    contents = []
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        training, folder = make_training(root=f"{name}-checkpoints", seed=seed), make_job(name)
        training.run()
        request = folder.read_request().model_copy(update={"job_id": "a"})
        artifacts.publish_adapter(folder, request, training, temperature=1.0)
        contents.append({file.name: file.read_bytes() for file in folder.adapter.iterdir()})

    assert contents[0] == contents[1]
    assert set(contents[0]) == {"adapter_model.safetensors", "adapter_config.json", "lyra_adapter.json"}
    assert contents[0]["adapter_model.safetensors"] != contents[2]["adapter_model.safetensors"]


def test_the_estimate_leaves_no_trace(make_training):
    plain, probed = make_training(root="a"), make_training(root="b")
    assert probed.estimate_s() > 0
    plain.run()
    probed.run()

    assert_equal(weights(plain), weights(probed))


@pytest.mark.parametrize("step", [1, 13, 22, 23])
def test_an_interrupted_training_ends_like_an_undisturbed_one(make_training, step):
    undisturbed = make_training(root="undisturbed")
    undisturbed.run()
    stop = StopAt(step)
    with pytest.raises(Interrupted):
        make_training(watchers=Watchers(on_step=stop.on_step, should_stop=stop.should_stop)).run()
    resumed = make_training()
    resumed.run()

    assert_equal(weights(undisturbed), weights(resumed))
    assert undisturbed.position.curve == resumed.position.curve
    assert (undisturbed.position.resumed, resumed.position.resumed) == (0, 1)


def test_a_training_that_began_on_a_gpu_goes_on_where_there_is_none(make_training, monkeypatch):
    undisturbed = make_training(root="undisturbed")
    undisturbed.run()
    stop = StopAt(13)
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
    with pytest.raises(Interrupted):
        make_training(watchers=Watchers(on_step=stop.on_step, should_stop=stop.should_stop)).run()
    resumed = make_training()
    resumed.run()

    assert_equal(weights(undisturbed), weights(resumed))


def test_a_finished_training_is_not_trained_again(make_training):
    first = make_training()
    first.run()
    second = make_training()
    second.run()

    assert second.position.step == first.position.step
    assert_equal(weights(first), weights(second))


def test_checkpoints_come_by_time_and_the_newest_are_kept(make_training, tmp_path):
    ticks = iter(range(100_000))
    make_training(watchers=Watchers(clock=lambda: float(next(ticks))), checkpoint_s=5.0, checkpoints_max=3).run()

    assert len(list((tmp_path / "checkpoints").glob("step-*"))) == 3


def test_a_time_limit_ends_the_training_cleanly(make_training):
    ticks = iter(range(100_000))
    training = make_training(watchers=Watchers(clock=lambda: float(next(ticks))), time_s=40.0)
    training.run()

    assert training.position.stopped_by == "time_limit"
    assert 0 < training.position.step < training.steps


def test_what_is_told_of_its_length_knows_both_limits(make_training):
    """While the learning rate rises and falls as if there were none."""
    told, ticks = [], iter(range(100_000))

    def tell(training):
        told.append((training.position.step, training.steps, training.eta_s()))

    watchers = Watchers(on_step=tell, clock=lambda: float(next(ticks)))
    short = make_training(root="short", steps_max=3, watchers=watchers)
    assert (short.steps, short.estimate_s()) == (3, 3.0)
    short.run()
    whole = make_training(root="whole", time_s=9.0, watchers=watchers)

    assert [(step, steps) for step, steps, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert told[-1][2] == 0
    assert (whole.estimate_s(), whole.steps) == (9.0, short.schedule_steps)
    assert short.warmup == whole.warmup
    whole.run()
    assert all(eta_s <= 9 for _, _, eta_s in told)


def test_steps_and_batch_can_be_limited(make_training):
    training = make_training(steps_max=3, batch=5)
    training.run()

    assert (training.position.step, training.position.stopped_by, training.batch) == (3, "steps_max", 5)


def test_the_loss_is_logged_every_ten_steps(make_training):
    training = make_training()
    training.run()
    steps = [line["step"] for line in training.position.curve if "loss" in line]

    assert max(b - a for a, b in zip([0, *steps], steps, strict=False)) <= 10


def test_warm_up_is_a_share_of_the_steps_and_reaches_the_learning_rate():
    steps = 3 * 9  # a hundred samples of the seed's recipe, less hold-out and validation
    warmup = warmup_steps(NLI_LORA_RECIPES["seed"], steps)
    factors = [learning_rate_factor(step, steps=steps, warmup=warmup) for step in range(steps)]

    assert warmup <= 0.1 * steps
    assert max(factors) >= 0.95
    assert min(factors) > 0


def test_the_seeds_recipe_is_the_seeds():
    recipe = NLI_LORA_RECIPES["seed"]

    assert (recipe.rank, recipe.alpha, recipe.dropout, recipe.targets) == (8, 32, 0.1, "query_value")
    assert (recipe.learning_rate, recipe.epochs, recipe.batch) == (2e-4, 3, 8)


def test_the_seeds_recipe_trains_three_epochs_and_keeps_each(make_training, make_samples, tmp_path):
    recipe = NLI_LORA_RECIPES["seed"].model_copy(update={"patience": 3})
    training = make_training(samples=make_samples(100), recipe=recipe)
    training.run()
    epochs = [line["epoch"] for line in training.position.curve if "validation_loss" in line]

    assert epochs == [0, 1, 2, 3]
    assert training.position.learning_rate_max >= 0.95 * 2e-4
    assert training.warmup <= 0.1 * training.steps
    assert {int(path.name[5:]) for path in (tmp_path / "checkpoints").iterdir()} == {
        epoch * training.epoch_steps for epoch in (1, 2, 3)
    }


def lopsided(labels=("supports",), domains=(None,)):
    """A hundred samples: 80 of the first, ten of each other."""
    places = [0] * 80 + [1] * 10 + [2] * 10
    return [
        Sample(
            sample_id=f"s{i}",
            premise="p",
            hypothesis="h",
            label=labels[place % len(labels)],
            source="correction",
            domain=domains[place % len(domains)],
        )
        for i, place in enumerate(places)
    ]


def test_balanced_sampling_draws_every_label_equally_often():
    samples = lopsided(labels=("supports", "refutes", "neutral"))
    drawn = [samples[i].label for i in epoch_order(samples, "class_balanced", seed=1, epoch=0)]

    assert sorted(drawn.count(label) for label in set(drawn)) == [33, 33, 34]
    assert sorted(epoch_order(samples, "natural", seed=1, epoch=0)) == list(range(100))


def test_balanced_sampling_draws_every_domain_equally_often():
    samples = lopsided(domains=("a.example", "b.example", None))
    drawn = [samples[i].domain for i in epoch_order(samples, "domain_balanced", seed=1, epoch=0)]

    assert sorted(drawn.count(domain) for domain in set(drawn)) == [33, 33, 34]


def test_half_the_strength_is_half_the_low_rank_change(make_training, recipe):
    whole, half = (make_training(root=f"{s}", recipe=recipe.model_copy(update={"strength": s})) for s in (1.0, 0.5))
    whole.run()
    half.run()

    for name, parameter in whole.trained.items():
        if ".lora_B." in name:
            assert torch.equal(half.trained[name], parameter * 0.5)
        elif name in whole.head:
            assert torch.allclose(half.trained[name], (whole.head[name] + parameter) / 2)


def test_rehearsal_keeps_the_answers_on_pairs_nobody_corrected(make_training, recipe):
    drift = []
    for root, weight in (("free", 0.0), ("held", 5.0)):
        changes = {"rehearsal_weight": weight, "rehearsal_batch": 16, "rehearsal_pairs": 200}
        training = make_training(root=root, recipe=recipe.model_copy(update=changes))
        before = training.logits(training.data.check).log_softmax(-1)
        training.run()
        after = training.logits(training.data.check).log_softmax(-1)
        drift.append(torch.nn.functional.kl_div(after, before, reduction="batchmean", log_target=True).item())

    assert drift[1] < drift[0]


def test_held_out_texts_are_never_rehearsed(make_samples, recipe):
    data = prepare_data(make_samples(120, unreviewed=20), recipe, seed=1)
    held = {sample.premise for sample in data.parts.holdout}

    assert not held & {premise for premise, _ in data.rehearsal}
    assert data.rehearsal_unreviewed == 15
    assert data.check_unreviewed == 5


def test_what_was_rehearsed_is_never_compared(make_samples, recipe):
    """Many reviews of few claims: pairs built from the claims alone could stand on both sides."""
    rehearsing = recipe.model_copy(update={"rehearsal_weight": 1.0, "rehearsal_batch": 4, "rehearsal_pairs": 1000})
    claims = ("a wolf, a cow, and a dog are here.", "the bridge, so they say, is open.")
    samples = [
        sample.model_copy(update={"hypothesis": claims[number % 2]})
        for number, sample in enumerate(make_samples(120, unreviewed=20))
    ]

    data = prepare_data(samples, rehearsing, seed=1)

    assert len(data.check) == len(set(data.check)) > 100
    assert not set(data.check) & set(data.rehearsal)


def test_samples_that_cannot_be_divided_are_refused(make_samples, recipe):
    same_page = [sample.model_copy(update={"page_id": "p"}) for sample in make_samples(120)]

    with pytest.raises(JobRefused, match="cannot be divided"):
        prepare_data(same_page, recipe, seed=1)
