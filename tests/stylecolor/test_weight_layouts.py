from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from lightning_modules.config import EncoderConfig, TransferLossConfig
from stylecolor.encoder import VGG19Encoder
from stylecolor.transfer import Decoder, EncodedPicture
from stylecolor.weight_layouts import load_decoder_state
from tests.stages import make_transfer_stage

WIDTH = 0.125
ENCODER = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv3_4", "conv4_1")
State = dict[str, Tensor]
Skips = dict[str, Tensor]


def random_convolution(state: State, name: str, channels_in: int, channels_out: int, generator: torch.Generator) -> None:
    scale = (2 / (9 * channels_in)) ** 0.5
    state[f"{name}.weight"] = torch.randn(channels_out, channels_in, 3, 3, generator=generator) * scale
    state[f"{name}.bias"] = torch.randn(channels_out, generator=generator) * 0.1


def authors_encoder(width: float = WIDTH) -> State:
    """Random weights; `conv0` turns sRGB in [0, 1] into Caffe's input, BGR of 0 to 255 without its mean, and mixes channels a little."""
    generator = torch.Generator().manual_seed(0)
    c64, c128, c256, c512 = (int(channels * width) for channels in (64, 128, 256, 512))
    widths = (3, c64, c64, c128, c128, c256, c256, c256, c256, c512)
    state: State = {}
    for name, (channels_in, channels_out) in zip(ENCODER, pairwise(widths), strict=True):
        random_convolution(state, name, channels_in, channels_out, generator)
    state["conv0.weight"] = torch.tensor([[0.0, 10, 255], [0, 255, 0], [255, 0, 20]])[:, :, None, None]
    state["conv0.bias"] = -torch.tensor([103.939, 116.779, 123.68])
    state["conv1_1.weight"] /= 60
    return state


def authors_decoder(width: float = WIDTH) -> State:
    generator = torch.Generator().manual_seed(1)
    c64, c128, c256, c512 = (int(channels * width) for channels in (64, 128, 256, 512))
    state: State = {}
    for name, channels_in, channels_out in (
        ("conv4_1", c512, c256),
        ("conv3_4_2", 3 * c256, c256),
        ("conv3_3", c256, c256),
        ("conv3_2", c256, c256),
        ("conv3_1", c256, c128),
        ("conv2_2_2", 3 * c128, c128),
        ("conv2_1", c128, c64),
        ("conv1_2_2", 3 * c64, c64),
        ("conv1_1", c64, 3),
    ):
        random_convolution(state, name, channels_in, channels_out, generator)
    return state


def convolve(state: State, name: str, x: Tensor) -> Tensor:
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), state[f"{name}.weight"], state[f"{name}.bias"])


def encode(state: State, rgb: Tensor) -> tuple[dict[str, Tensor], Skips]:
    """The authors' encoder: conv{i}_1 after its ReLU, and its skips."""
    x = F.conv2d(rgb, state["conv0.weight"], state["conv0.bias"])
    outputs, skips = {}, {}
    for name in ENCODER:
        x = convolve(state, name, x).relu()
        if name.endswith("_1"):
            outputs[name] = x
        if name in ("conv1_2", "conv2_2", "conv3_4"):
            skips[name] = x
            x = F.avg_pool2d(x, 2)
            skips[f"pool{name[4]}"] = x
    return outputs, skips


def decode(state: State, x: Tensor, skips: Skips) -> Tensor:
    """The authors' decoder."""

    def up(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)

    x = convolve(state, "conv4_1", x).relu()
    x = torch.cat((up(x), up(skips["pool3"]), skips["conv3_4"]), dim=1)
    for name in ("conv3_4_2", "conv3_3", "conv3_2", "conv3_1"):
        x = convolve(state, name, x).relu()
    x = torch.cat((up(x), up(skips["pool2"]), skips["conv2_2"]), dim=1)
    for name in ("conv2_2_2", "conv2_1"):
        x = convolve(state, name, x).relu()
    x = torch.cat((up(x), up(skips["pool1"]), skips["conv1_2"]), dim=1)
    return convolve(state, "conv1_1", convolve(state, "conv1_2_2", x).relu())


def save(state: State, path: Path) -> str:
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return str(path)


def picture(height: int = 32, width: int = 48, channels: int = 3) -> Tensor:
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(2))


def load_decoder(path: str, width: float = WIDTH) -> Decoder:
    decoder = Decoder(width, "pre_pool", "none", "reflect")
    state = load_decoder_state(
        path, decoder.state_dict(), width=width, skips="pre_pool", norm="none", padding="reflect", setting="stage.decoder_weights"
    )
    decoder.load_state_dict(state)
    return decoder


@pytest.mark.parametrize(("width", "suffix"), [(WIDTH, ".pth"), (WIDTH, ".safetensors"), (1.0, ".pth")])
def test_the_authors_encoder_and_decoder_give_their_own_outputs(tmp_path: Path, width: float, suffix: str) -> None:
    encoder_state, decoder_state = authors_encoder(width), authors_decoder(width)
    encoder = VGG19Encoder(save(encoder_state, tmp_path / f"encoder{suffix}"), width, padding="reflect")
    decoder = load_decoder(save(decoder_state, tmp_path / f"decoder{suffix}"), width)
    rgb = picture()
    with torch.no_grad():
        expected, skips = encode(encoder_state, rgb)
        x, slices = encoder.normalize(rgb), []
        for index in range(4):
            slices.append(encoder.run_slice(index, x))
            x = slices[-1].output
        for own, theirs in zip(slices, expected.values(), strict=True):
            torch.testing.assert_close(own.output, theirs, atol=1e-4, rtol=1e-4)
        # what stands for the matching of pooled skips
        skips |= {name: 0.5 * skips[name] + 0.1 for name in ("pool1", "pool2", "pool3")}
        before, pooled = ({i: getattr(slices[i], kind) for i in (1, 2, 3)} for kind in ("before_pool", "pooled"))

        def match(site: str, features: Tensor) -> Tensor:
            return 0.5 * features + 0.1 if site.startswith("skips") else features

        found = decoder(EncodedPicture(slices[3].output, before, pooled), match)
        torch.testing.assert_close(found, decode(decoder_state, expected["conv4_1"], skips), atol=1e-4, rtol=1e-4)
    assert found.std() > 0.1


@pytest.mark.parametrize(
    "wrap", [lambda state: {f"module.{name}": tensor for name, tensor in state.items()}, lambda state: {"state_dict": state, "epoch": 3}]
)
def test_keys_may_be_prefixed_and_the_state_wrapped(tmp_path: Path, wrap: Callable[[State], State]) -> None:
    plain = VGG19Encoder(save(authors_encoder(), tmp_path / "plain.pth"), WIDTH, padding="reflect").state_dict()
    wrapped = VGG19Encoder(save(wrap(authors_encoder()), tmp_path / "wrapped.pth"), WIDTH, padding="reflect").state_dict()
    assert all(torch.equal(plain[name], wrapped[name]) for name in plain)
    first, second = (load_decoder(save(state, tmp_path / "decoder.pth")) for state in (authors_decoder(), wrap(authors_decoder())))
    assert all(torch.equal(own, other) for own, other in zip(first.parameters(), second.parameters(), strict=True))


def encoder_refusal(state: State, tmp_path: Path, width: float = WIDTH, **settings: object) -> str:
    path = save(state, tmp_path / "encoder.pth")
    with pytest.raises(ValueError, match=r"^stage\.encoder\.weights=.*encoder\.pth: ") as caught:
        VGG19Encoder(path, width, **{"padding": "reflect", **settings})  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def decoder_refusal(state: State, tmp_path: Path, width: float = WIDTH, **settings: Any) -> str:
    path = save(state, tmp_path / "decoder.pth")
    form = {"skips": "pre_pool", "norm": "none", "padding": "reflect", **settings}
    expected = Decoder(width, **form).state_dict()
    with pytest.raises(ValueError, match=r"^stage\.decoder_weights=.*decoder\.pth: ") as caught:
        load_decoder_state(path, expected, width=width, **form, setting="stage.decoder_weights")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_authors_encoder_needs_reflection_padding(tmp_path: Path) -> None:
    assert "use it with stage.encoder.padding=reflect" in encoder_refusal(authors_encoder(), tmp_path, padding="zeros")


def test_the_authors_encoder_ends_before_relu5_1(tmp_path: Path) -> None:
    message = encoder_refusal(authors_encoder(), tmp_path, depth=5)
    assert "ends at conv4_1, and here 8 deeper tensors are needed" in message
    assert "stage.loss.network_weights" in message


def test_following_the_messages_leads_to_a_stage_with_the_authors_encoder(tmp_path: Path) -> None:
    path = save(authors_encoder(), tmp_path / "encoder.pth")
    with pytest.raises(ValueError, match=r"encoder\.pth: .*use it with stage\.encoder\.padding=reflect"):
        make_transfer_stage(encoder=EncoderConfig(path))
    encoder = EncoderConfig(path, padding="reflect")
    with pytest.raises(ValueError, match=r"ends at conv4_1, .*random, for the perceptual loss with stage\.loss\.network_weights"):
        make_transfer_stage(encoder=encoder)
    make_transfer_stage(encoder=encoder, loss=TransferLossConfig(network_weights="random"))


def test_errors_name_the_setting_that_was_given(tmp_path: Path) -> None:
    path = save(authors_decoder(), tmp_path / "encoder.pth")
    with pytest.raises(ValueError, match=r"^stage\.encoder\.gray_weights="):
        VGG19Encoder(path, WIDTH, channels_in=1, setting="stage.encoder.gray_weights")


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"skips": "slices"}, "use it with stage.skips=pre_pool"),
        ({"norm": "batch"}, "use it with stage.norm=none"),
        ({"padding": "zeros"}, "use it with stage.padding=reflect"),
        ({"norm": "batch", "padding": "zeros", "skips": "slices"}, "stage.skips=pre_pool stage.norm=none stage.padding=reflect"),
    ],
)
def test_the_authors_decoder_needs_its_own_form(tmp_path: Path, settings: dict[str, Any], advice: str) -> None:
    assert decoder_refusal(authors_decoder(), tmp_path, **settings).endswith(advice)


def test_missing_and_unexpected_keys_are_named_as_the_file_has_them(tmp_path: Path) -> None:
    for make, refuse in ((authors_encoder, encoder_refusal), (authors_decoder, decoder_refusal)):
        state = make()
        del state["conv3_2.bias"]
        assert "missing conv3_2.bias; unexpected pool1.LL" in refuse({**state, "pool1.LL": torch.zeros(1)}, tmp_path)
    assert "unexpected conv1_1.bias" in encoder_refusal(authors_decoder(), tmp_path)
    message = decoder_refusal(authors_encoder(), tmp_path)
    assert "missing conv1_2_2.bias" in message
    assert "unexpected conv0.bias" in message
    assert "missing" in decoder_refusal({}, tmp_path)
    assert "holds no state dict, 5 is no name of a tensor" in encoder_refusal({5: torch.zeros(1)}, tmp_path)  # pyright: ignore[reportArgumentType]


def test_another_width_is_named(tmp_path: Path) -> None:
    for make, refuse in ((authors_encoder, encoder_refusal), (authors_decoder, decoder_refusal)):
        message = refuse(make(0.25), tmp_path)
        assert "where stage.width=0.125 needs" in message
        assert "conv" in message.split("has shape")[0]


def test_a_truncated_decoder_is_refused(tmp_path: Path) -> None:
    path = Path(save(authors_decoder(), tmp_path / "decoder.pth"))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"^stage\.decoder_weights=.*damaged or truncated"):
        load_decoder(str(path))


def test_pickled_objects_in_a_decoder_are_not_loaded(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (ran,)

    torch.save({"conv4_1.weight": Evil()}, path := tmp_path / "decoder.pth")
    with pytest.raises(ValueError, match="no weight file"):
        load_decoder(str(path))
    assert not ran.exists()


def inner(tensor: Tensor, border: int) -> Tensor:
    return tensor[..., border:-border, border:-border]


@pytest.mark.parametrize(
    ("kind", "padding"),
    [("random", "zeros"), ("random", "reflect"), ("torchvision's", "zeros"), ("torchvision's", "reflect"), ("the authors'", "reflect")],
)
def test_a_grey_encoder_gives_what_the_colour_encoder_gives_for_a_grey_picture(tmp_path: Path, kind: str, padding: str) -> None:
    source = "random"
    if kind != "random":
        own = {name: tensor + 0.01 for name, tensor in VGG19Encoder("random", WIDTH).state_dict().items()}
        source = save(authors_encoder() if kind == "the authors'" else own, tmp_path / "encoder.pth")
    gray = picture(96, 96, channels=1)
    colour = VGG19Encoder(source, WIDTH, padding=padding)(gray.expand(-1, 3, -1, -1))
    found = VGG19Encoder(source, WIDTH, padding=padding, channels_in=1)(gray)
    # with zero padding the outermost pixels of conv1_1 differ a little; convolutions carry that a pixel further, pooling halves it
    for gray_features, features, border in zip(found, colour, (1, 2, 3, 4), strict=True):
        if padding == "zeros":
            difference = (gray_features - features).square().mean().sqrt() / features.square().mean().sqrt()
            assert 0 < difference < 0.05
            gray_features, features = inner(gray_features, border), inner(features, border)
        torch.testing.assert_close(gray_features, features, atol=1e-4, rtol=1e-4)
    assert found[3].std() > 1e-3


def test_a_grey_encoders_own_file_is_read_as_it_is(tmp_path: Path) -> None:
    state = {name: tensor + 0.01 for name, tensor in VGG19Encoder("random", WIDTH, 5, channels_in=1).state_dict().items()}
    path = save(state, tmp_path / "encoder.pth")
    loaded = VGG19Encoder(path, WIDTH, channels_in=1).state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)
    assert "is an encoder for grey pictures; use it with stage.precolor=gray_encoder" in encoder_refusal(state, tmp_path)
