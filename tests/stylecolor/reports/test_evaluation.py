import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from stylecolor.reports import render_report
from tests.stylecolor.reports.directories import METHODS, METRICS, REVISION, make_evaluation, write_csv
from tests.stylecolor.reports.pages import Element, assert_no_place_twice, assert_self_contained, read_page


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_evaluation(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def page(directory: Path) -> Element:
    return read_page(render_report(directory))


def results(page: Element) -> list[Element]:
    return [table for table in page.find("table") if "results" in table.attributes["class"].split()]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def test_the_page_fetches_nothing_and_holds_every_picture(directory: Path, page: Element) -> None:
    assert_self_contained(directory / "report.html")
    assert_no_place_twice(directory / "report.html")
    strips = len(read(directory / "gallery" / "index.csv"))
    assert len(page.find("img")) == strips + 1


def test_tables_show_means_and_intervals_of_the_summary(directory: Path, page: Element) -> None:
    summary = {(row["protocol"], row["method"], row["metric"]): row for row in read(directory / "summary.csv")}
    shown = 0
    for protocol, table in zip(("palette", "auto"), results(page), strict=True):
        titles = [cell.text.split(" ")[0] for cell in table.find("th", scope="col")][1:]
        assert titles[:3] == ["PSNR", "SSIM", "LPIPS"]
        names = [name for name in ("psnr", "ssim", "lpips", *METRICS[2:]) if protocol == "palette" or name != "histogram_intersection"]
        methods = METHODS if protocol == "palette" else ("gray", "colorizer")
        for method, row in zip(methods, table.find("tbody")[0].find("tr"), strict=True):
            for name, cell in zip(names, row.find("td"), strict=True):
                if name == "lpips":
                    assert cell.text == "not available"
                    continue
                expected = summary[protocol, method, name]
                mean, interval = cell.find("b")[0].text, cell.find("small")[0].text
                low, high = interval.split(" \N{EN DASH} ")
                digits = len(mean.partition(".")[2])
                for text, column in ((mean, "mean"), (low, "low"), (high, "high")):
                    assert number(text) == pytest.approx(float(expected[column]), abs=0.51 * 10**-digits)
                    shown += 1
    assert shown == 3 * (9 * 6 + 2 * 5)


def test_the_best_is_marked_and_what_cannot_be_told_from_it_is_hinted(tmp_path: Path) -> None:
    directory = make_evaluation(tmp_path, pictures=30, protocols=("palette",))
    rows = read(directory / "pictures.csv")
    # both is better than the others by hair's breadth, with luck; transfer is worse by a little, in each picture
    rng = np.random.default_rng(0)
    base = {row["target"]: float(row["psnr"]) for row in rows if row["method"] == "both"}
    shift = dict(zip(base, rng.normal(0, 1, len(base)) - 0.01, strict=True))
    for row in rows:
        change = {"both": 0.0, "transfer": -0.2, "colorizer": shift[row["target"]] - np.mean(list(shift.values())) - 0.01}
        row["psnr"] = str(base[row["target"]] + change.get(row["method"], -3))
    write_csv(directory / "pictures.csv", list(rows[0]), [list(row.values()) for row in rows])
    summary = read(directory / "summary.csv")
    for row in summary:
        if row["metric"] == "psnr":
            row["mean"] = str(np.mean([float(picture["psnr"]) for picture in rows if picture["method"] == row["method"]]))
    write_csv(directory / "summary.csv", list(summary[0]), [list(row.values()) for row in summary])
    (table,) = results(read_page(render_report(directory)))
    cells = {row.find("th")[0].text: row.find("td")[0] for row in table.find("tbody")[0].find("tr")}
    assert [name for name, cell in cells.items() if "best" in cell.attributes["class"].split()] == ["Both sub-nets"]
    assert cells["Both sub-nets"].text.startswith(cells["Both sub-nets"].find("b")[0].text)
    # the interval of its own mean overlaps by far, yet over the same pictures it is always worse
    assert [name for name, cell in cells.items() if cell.find("span", class_="mark")] == ["Colorizer only"]


def test_lower_is_better_where_the_measure_says_so(page: Element, directory: Path) -> None:
    palette = results(page)[0]
    column = [cell.text.split(" ")[0] for cell in palette.find("th", scope="col")].index("CIEDE2000") - 1
    best = [
        row.find("th")[0].text
        for row in palette.find("tbody")[0].find("tr")
        if "best" in row.find("td")[column].attributes["class"].split()
    ]
    means = {
        row["method"]: float(row["mean"])
        for row in read(directory / "summary.csv")
        if (row["protocol"], row["metric"]) == ("palette", "ciede2000")
    }
    assert min(means, key=means.__getitem__) == "both"
    assert best == ["Both sub-nets"]


def test_colorfulness_is_best_near_the_truth(directory: Path, page: Element) -> None:
    means = {
        row["method"]: abs(float(row["mean"]))
        for row in read(directory / "summary.csv")
        if row["metric"] == "colorfulness_difference" and row["protocol"] == "palette"
    }
    nearest = sorted(means, key=means.__getitem__)[0]
    rows = results(page)[0].find("tbody")[0].find("tr")
    for column in (4, 5):
        assert [METHODS[index] for index, row in enumerate(rows) if "best" in row.find("td")[column].attributes["class"].split()] == [
            nearest
        ]
    assert "The true pictures' colourfulness is 40.0" in page.text


def test_what_is_not_available_is_said_with_its_reason(page: Element) -> None:
    assert "not available: no weights of AlexNet here; name a file" in page.text
    assert "Features: InceptionV3 of torch-fidelity" not in page.text  # FID is in no table
    assert "LPIPS" in page.text


def test_boxes_show_the_quartiles_of_each_method(directory: Path, page: Element) -> None:
    said = [svg.attributes["aria-label"] for svg in page.find("svg", role="img") if svg.find("title")]
    values = [float(row["psnr"]) for row in read(directory / "pictures.csv") if (row["protocol"], row["method"]) == ("palette", "welsh")]
    first, median, third = np.percentile(values, (25, 50, 75))
    expected = f"Welsh: median {median:.4g}, half of the pictures between {first:.4g} and {third:.4g}, mean {np.mean(values):.4g}"
    assert expected in said
    assert len(said) == 9 * 6 + 2 * 5


def test_hints_are_drawn_beside_the_published_curve(page: Element) -> None:
    (plot,) = [plot for plot in page.find("div", class_="plot") if plot.attributes["aria-label"].startswith("PSNR by number of hints")]
    ours, published = json.loads(plot.attributes["data-lines"])
    expected = "0: 24.43, 1: 25.37, 2: 26.20, 5: 27.39, 10: 28.42, 20: 29.34, 50: 30.42, 100: 31.13, 200: 31.70, 501: 32.14"
    assert [reading[2] for reading in published["readings"]] == [f"{text.replace(':', ' hints:')} dB" for text in expected.split(", ")]
    assert [reading[2] for reading in ours["readings"]][:2] == ["0 hints: 23.00 dB", "1 hints: 23.66 dB"]
    # equal numbers of hints stand above each other, more to the right, better above
    assert [reading[0] for reading in ours["readings"]] == [reading[0] for reading in published["readings"]]
    for line in (ours, published):
        assert np.all(np.diff([reading[0] for reading in line["readings"]]) > 0)
        assert np.all(np.diff([reading[1] for reading in line["readings"]]) < 0)


def test_header_curves_figures_costs_and_command_are_there(page: Element) -> None:
    assert REVISION in page.find("header")[0].text
    assert "outputs/joint/first/checkpoints/best.ckpt" in page.find("header")[0].text
    titles = [heading.text for heading in page.find("h3")]
    assert "transfer" in titles
    assert "colorizer" in titles
    assert "python evaluate.py experiment=figure_references" in page.text
    assert ["Both sub-nets", "0.111", "1.50"] in [row for table in page.find("table") for row in table.rows()]
    (command,) = [pre.text for pre in page.find("pre") if "evaluate.py" in pre.text]
    assert shlex.split(command)[:4] == ["python", "evaluate.py", "checkpoint=outputs/joint/first/checkpoints/best.ckpt", "data=coco"]
    assert "data.root=photographs of mine" in shlex.split(command)
    assert "data.categories=[giraffe,zebra]" in shlex.split(command)


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    name = "<script>alert('a')</script>\"'&{{ 1 }}.jpg"
    directory = make_evaluation(tmp_path / "evaluation", names=[name, "</script><b>.jpg"])
    (directory / "notes.json").write_text(json.dumps({"lpips": "not available: <img src=x onerror=alert(1)>"}))
    path = render_report(directory)
    assert "<script>alert" not in path.read_text()
    assert "<img src=x" not in path.read_text()
    page = read_page(path)
    assert len(page.find("script")) == 1
    assert any(name in caption.text for caption in page.find("figcaption"))


def test_several_checkpoints_are_told_apart(tmp_path: Path) -> None:
    directory = make_evaluation(tmp_path, protocols=("auto",))
    for file in ("pictures.csv", "summary.csv"):
        (directory / file).write_text(
            (directory / file)
            .read_text()
            .replace("auto,colorizer,", "auto,first/colorizer,")
            .replace("auto,gray,", "auto,second/colorizer,")
        )
    (table,) = results(read_page(render_report(directory)))
    assert [row.find("th")[0].text for row in table.find("tbody")[0].find("tr")] == ["second: colorizer only", "first: colorizer only"]


@pytest.mark.parametrize("pictures", [0, 1])
def test_fewer_than_two_pictures_are_refused(tmp_path: Path, pictures: int) -> None:
    directory = make_evaluation(tmp_path, pictures=2)
    for file in ("pictures.csv", "pairs.csv"):
        rows = read(directory / file)
        kept = [row for row in rows if row["target"] == "val/0000.jpg"] if pictures else []
        write_csv(directory / file, list(rows[0]), [list(row.values()) for row in kept])
    with pytest.raises(ValueError, match=f"at least 2 pictures, and this evaluation has {pictures}"):
        render_report(directory)
    assert not (directory / "report.html").exists()


def test_an_evaluation_that_was_broken_off_is_refused(tmp_path: Path) -> None:
    directory = make_evaluation(tmp_path)
    (directory / "summary.csv").unlink()
    with pytest.raises(ValueError, match=r"has not come to its end, there is no summary\.csv"):
        render_report(directory)


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/hostname", "", "missing.png"])
def test_pictures_outside_the_gallery_are_refused(tmp_path: Path, name: str) -> None:
    directory = make_evaluation(tmp_path / "a" / "evaluation")
    (tmp_path / "a" / "secret.png").write_bytes((directory / "figures" / "references.png").read_bytes())
    index = directory / "gallery" / "index.csv"
    rows = read(index)
    rows[0]["file"] = name
    write_csv(index, list(rows[0]), [list(row.values()) for row in rows])
    with pytest.raises(ValueError, match=r"index\.csv: .* (is no file inside|is not in) "):
        render_report(directory)


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    directory = make_evaluation(tmp_path)
    figure = directory / "figures" / "references.png"
    figure.write_bytes(figure.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"references\.png: is no picture that can be read"):
        render_report(directory)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("pictures.csv", "protocol,method", "protocol,methods", "pictures.csv: has no column method; did you mean methods"),
        ("pictures.csv", "palette,gray,val/0000.jpg,", "palette,gray,val/0000.jpg,,,,,,,,,,", "pictures.csv: row 1 has"),
        ("summary.csv", "palette,gray,psnr,", "palette,gray,psnr,x", "summary.csv: row 1: mean=x.* is no number"),
        ("config.yaml", "data:", "data: [", "config.yaml: is no YAML file"),
        ("notes.json", "{", "[", "notes.json: is no JSON file"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    directory = make_evaluation(tmp_path)
    text = (directory / file).read_text()
    assert old in text
    (directory / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        render_report(directory)


def test_the_same_directory_gives_the_same_page(directory: Path, page: Element, tmp_path: Path) -> None:
    assert render_report(directory, tmp_path / "again.html").read_bytes() == (directory / "report.html").read_bytes()


def test_checkpoints_are_those_that_were_found(tmp_path: Path) -> None:
    directory = make_evaluation(tmp_path)
    found = {"small": {"source": "a/best.ckpt", "sha256": "ab" * 32}, "large": {"source": "b/best.ckpt", "sha256": "cd" * 32}}
    (directory / "checkpoints.json").write_text(json.dumps(found))
    page = read_page(render_report(directory))
    assert page.find("h1")[0].text == "Evaluation of small and large"
    assert "small: a/best.ckpt SHA-256 abababababab" in page.find("header")[0].text
