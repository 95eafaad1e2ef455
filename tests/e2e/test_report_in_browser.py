"""The report in headless Chromium, without a network: it draws, its buttons work, it prints, it looks as in the README.

The screenshots go to a temporary folder, or to the one that PECULIAR_SCREENSHOTS names; PECULIAR_REPORT names a report
to check and to show instead of the small one that is made here.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image, ImageChops

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome on the PATH")

PAPER = (182, 265)  # mm of an A4 page between its margins in report.css
PIXELS_PER_MM = 96 / 25.4

WATCH = """<script>
window.troubles = [];
window.addEventListener('error', e => troubles.push('error: ' + e.message), true);
window.addEventListener('unhandledrejection', e => troubles.push('rejected: ' + e.reason));
console.error = (...words) => troubles.push('console: ' + words.join(' '));
window.tell = found => {
  const place = document.createElement('pre');
  place.id = 'told';
  place.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(found))));
  document.body.append(place);
};
window.wait = time => new Promise(done => setTimeout(done, time));
</script>"""

USE_THE_VIEW = """<script>
(async () => {
  const view = document.querySelector('.view .js-plotly-plot');
  for (let i = 0; i < 400 && !(view && view._fullLayout && view._fullLayout.scene._scene); i++) await wait(50);
  const picture = () => Plotly.toImage(view, {format: 'png', width: 420, height: 360});
  const shown = () => view.data.map(trace => trace.visible !== false);
  const press = async (where, part) => {
    const box = where.getBoundingClientRect();
    const place = {bubbles: true, clientX: box.left + part * box.width, clientY: box.top + box.height / 2};
    // A headless page shows no frames, and plotly's slider acts in the next one.
    const nextFrame = window.requestAnimationFrame;
    window.requestAnimationFrame = act => setTimeout(act, 16);
    for (const name of ['mousedown', 'mouseup', 'click']) where.dispatchEvent(new MouseEvent(name, place));
    await wait(100);
    window.requestAnimationFrame = nextFrame;
    await wait(400);
  };
  const found = {names: view.data.map(trace => trace.name), shown: [shown()], pictures: [await picture()]};
  const buttons = [...view.querySelectorAll('.updatemenu-button')];
  found.buttons = buttons.map(button => button.textContent);
  if (buttons.length) await press(buttons[1], 0.5);
  found.shown.push(shown());
  found.pictures.push(await picture());
  const height = () => view._fullData.find(t => t.type === 'surface' && t.visible).z[0][0];
  found.heights = [height()];
  await press(view.querySelector('.slider-rail-touch-rect'), 0.7);
  found.heights.push(height());
  found.pictures.push(await picture());
  found.requests = performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'));
  found.troubles = troubles;
  tell(found);
})().catch(problem => tell({troubles: ['' + problem]}));
</script>"""

MEASURE = """<script>
addEventListener('load', async () => {
  await wait(500);
  const size = part => {
    const box = part.getBoundingClientRect();
    return {what: part.tagName + '.' + part.className, right: box.right, height: box.height};
  };
  const parts = [...document.querySelectorAll('figure, table, tr, .tiles, h1, h2')].map(size);
  const pictures = [...document.images].map(picture => picture.naturalWidth);
  tell({parts: parts.filter(part => part.height > 0), pictures, troubles});
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A report on a small simulated box."""
    if os.environ.get("PECULIAR_REPORT"):
        return Path(os.environ["PECULIAR_REPORT"]).resolve()
    from peculiar.simulate.boxes import BoxSettings
    from peculiar.simulate.particle_mesh import Steps
    from peculiar.workflows.evaluate import evaluate
    from peculiar.workflows.report import report
    from peculiar.workflows.simulate import simulate_run

    folder = tmp_path_factory.mktemp("report")
    settings = BoxSettings(size=100.0, particles=32, cells=16, steps=Steps(count=4), min_particles=8)
    simulate_run(folder / "run", seeds=[1, 2], settings=settings)
    options = {"satellite_fraction": (0.2,), "number_density": 8e-5}
    evaluate(folder / "run", out=folder / "scores", models=["linear"], **options, figures=False)
    return report(folder / "scores", out=folder / "report.html")


@pytest.fixture
def browse(tmp_path):
    """Open a page in Chromium with a network that resolves no name; return its standard output."""

    def run(page: Path, *options: str) -> str:
        command = [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=30000",
            *options,
            page.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.fixture
def ask(browse, tmp_path):
    """Run a script in a copy of the page, and return what it told."""

    def run(page: Path, script: str, *options: str, style: str = "", paper: bool = False) -> dict:
        text = page.read_text(encoding="utf-8")
        text = text.replace("@media print", "@media all", 1) if paper else text
        text = text.replace("</head>", f"<style>{style}</style>{WATCH}</head>", 1)
        head, _, tail = text.rpartition("</body>")
        copy = tmp_path / "copy.html"
        copy.write_text(f"{head}{script}</body>{tail}", encoding="utf-8")
        told = re.search(r'<pre id="told">([^<]*)</pre>', browse(copy, "--dump-dom", *options))
        assert told, "the script did not end"
        return json.loads(base64.b64decode(told[1]))

    return run


class References(HTMLParser):
    """What the tags of a page would load or link to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")
        ]


def opened(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")


def difference(first: Image.Image, second: Image.Image) -> float:
    """Fraction of pixels that differ."""
    grey = ImageChops.difference(first, second).convert("L")
    return 1 - grey.histogram()[0] / (grey.width * grey.height)


def test_page_is_small_and_refers_to_nothing_outside(page):
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) < 15 * 2**20
    references = References(text).found
    assert references
    assert all(value.startswith(("#", "data:")) for value in references)


def test_view_is_drawn_and_its_buttons_and_slider_work(page, ask):
    found = ask(page, USE_THE_VIEW, "--window-size=1000,800")
    assert found["troubles"] == []
    assert found["requests"] == []
    pictures = [opened(url) for url in found["pictures"]]
    assert len(pictures[0].getcolors(420 * 360)) > 500  # lines, surfaces and slice; an empty box has a few
    assert found["buttons"][1] == "truth"
    half = len(found["names"]) // 2
    assert found["shown"] == [[True] * half + [False] * half, [False] * half + [True] * half]
    assert difference(pictures[0], pictures[1]) > 0.02
    assert found["heights"][0] == 0
    assert found["heights"][1] > 0
    assert difference(pictures[1], pictures[2]) > 0.02


def test_nothing_is_cut_on_paper(page, ask):
    width, height = (round(side * PIXELS_PER_MM) for side in PAPER)
    found = ask(
        page, MEASURE, f"--window-size={width},{height}", style=f"body {{ width: {width}px; }}", paper=True
    )
    assert found["troubles"] == []
    assert all(found["pictures"])
    assert len(found["parts"]) > 30
    for part in found["parts"]:
        assert part["right"] <= width + 1, part
        assert part["height"] <= height or part["what"].startswith("TABLE"), part


def test_page_prints(page, browse, tmp_path):
    paper = tmp_path / "report.pdf"
    browse(page, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 16


@pytest.mark.parametrize(
    ("name", "hidden", "size", "scale"),
    [
        ("report", "section:not(#s1), .view figcaption", (1240, 1330), 1.0),
        (
            "velocity_slices",
            "main > :not(#s2), #s2 h2, #s2 figure ~ figure, #s2 figcaption",
            (1240, 700),
            1.5,
        ),
        ("spectra", "main > :not(#s5), #s5 h2, #s5 .narrow ~ .narrow ~ *, #s5 figcaption", (1240, 900), 1.5),
    ],
)
def test_screenshots(page, browse, tmp_path, name, hidden, size, scale):
    folder = Path(os.environ.get("PECULIAR_SCREENSHOTS", tmp_path)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    look = f"<style>{hidden} {{ display: none !important; }} section {{ margin-top: 1rem; }}"
    copy = tmp_path / "copy.html"
    text = page.read_text(encoding="utf-8").replace(
        "</head>", f"{look} h2 {{ border: 0; }}</style></head>", 1
    )
    copy.write_text(text, encoding="utf-8")
    shot = tmp_path / "shot.png"
    window = (f"--window-size={size[0]},{size[1]}", f"--force-device-scale-factor={scale}")
    browse(copy, *window, f"--screenshot={shot}")
    image = Image.open(shot).convert("RGB")
    inside = ImageChops.invert(image.convert("L")).getbbox()
    assert inside is not None
    left, top, right, bottom = inside
    margin = 16
    image = image.crop(
        (
            max(left - margin, 0),
            max(top - margin, 0),
            min(right + margin, image.width),
            min(bottom + margin, image.height),
        )
    )
    assert image.height > 200
    assert image.width > 900
    colours = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2)  # a third of the bytes
    colours.save(folder / f"{name}.png", optimize=True)
    assert (folder / f"{name}.png").stat().st_size < 400_000
