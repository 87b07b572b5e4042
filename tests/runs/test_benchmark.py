import json
import statistics
from pathlib import Path

import pytest

from cellfx.runs import benchmark

PEER = """
calls = []


def trainer(images, batch_size, model, learning_rate):
    assert images.shape == (96, 16, 16, 1)
    assert str(images.dtype) == "uint8"
    assert (batch_size, model["latents"], learning_rate) == (16, 6, 5e-4)

    def train(num_steps):
        calls.append(num_steps)
        return 100.0 * len(calls)

    return train
"""


@pytest.fixture(scope="module")
def result(tiny, compiled_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "peer.py").write_text(PEER)
    return benchmark.benchmark(tiny(), folder / "deep" / "benchmark.json", folder / "peer.py", rounds=3), folder


def test_what_is_measured_is_written(result, tiny):
    measured, folder = result
    assert json.loads((folder / "deep" / "benchmark.json").read_text()) == json.loads(json.dumps(measured))
    assert measured["config"] == tiny()
    assert measured["versions"]["jax"]
    assert len(measured["devices"]) == 1
    assert measured["peak_memory_bytes"]["process"] > 2**20


def test_contenders_are_both_pipelines_and_the_peer(result):
    contenders = result[0]["contenders"]
    assert list(contenders) == ["device", "pipeline", "peer"]
    for name in benchmark.PIPELINES:
        assert contenders[name]["compile_seconds"] > 0
        assert len(contenders[name]["rounds"]) == 3
        assert min(contenders[name]["rounds"]) > 0
        assert contenders[name]["images_per_second"] == statistics.median(contenders[name]["rounds"])


def test_the_peer_warms_up_and_takes_a_turn_in_every_round(result):
    # One call before the rounds, so its rates start at 200.
    assert result[0]["contenders"]["peer"] == {"images_per_second": 300.0, "rounds": [200.0, 300.0, 400.0]}


def test_ratios_are_medians_over_rounds(result):
    ratios, contenders = result[0]["ratios"], result[0]["contenders"]
    base = contenders["device"]["rounds"]
    assert ratios["device/device"] == 1
    for name in ("pipeline", "peer"):
        pairs = zip(contenders[name]["rounds"], base, strict=True)
        assert ratios[f"{name}/device"] == statistics.median(rate / other for rate, other in pairs)


def test_a_pipeline_without_its_packages_is_left_out(tiny, compiled_once, monkeypatch, capsys):
    named = benchmark.named

    def without_tensorflow(package, section, settings, *arguments, name_key="name"):
        if settings[name_key] == "pipeline":
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
        return named(package, section, settings, *arguments, name_key=name_key)

    monkeypatch.setattr(benchmark, "named", without_tensorflow)
    measured = benchmark.benchmark(tiny(), rounds=1)
    assert list(measured["contenders"]) == ["device"]
    assert measured["ratios"] == {"device/device": 1}
    assert "pipeline: left out, the package tensorflow is not installed" in capsys.readouterr().out


def test_a_missing_peer_is_named(tiny, compiled_once, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "PIPELINES", ())
    with pytest.raises(FileNotFoundError, match=r"no such peer: .*nothing\.py; expected a Python file with a function"):
        benchmark.benchmark(tiny(), peer=tmp_path / "nothing.py")


def test_the_torch_peer_trains_the_same_model(tiny, compiled_once, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed: pip install 'cellfx[torch]' measures its peer")
    path = Path(__file__).parents[1] / "peers" / "torch_tcvae.py"
    measured = benchmark.benchmark(tiny(), peer=path, rounds=1)
    assert measured["contenders"]["peer"]["images_per_second"] > 0
