"""A terminal for programs that draw on the whole of it: tmux, with a shell in it."""

import html
import os
import pathlib
import re
import subprocess
import time

PATIENCE = 40


class Terminal:
    """A screen of its own, with a tmux that serves nobody else."""

    def __init__(self, folder, columns=80, rows=24):
        self.columns, self.rows = columns, rows
        self.tmux = ["tmux", "-u", "-f", "/dev/null", "-S", str(folder / "tmux")]
        self.folder = folder

    def __enter__(self):
        environment = {**os.environ, "PS1": "$ ", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
        environment.pop("TMUX", None)
        subprocess.run(
            [
                *self.tmux, "new-session", "-d", "-x", str(self.columns), "-y", str(self.rows),
                "bash --norc --noprofile",
            ],
            env=environment, cwd=self.folder, check=True, timeout=PATIENCE,
        )
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """What runs in it hears that the terminal is gone."""
        subprocess.run([*self.tmux, "kill-server"], stderr=subprocess.DEVNULL, timeout=PATIENCE)

    def press(self, *keys):
        """Keys by the names that tmux has for them, such as Enter, Tab, C-c."""
        subprocess.run([*self.tmux, "send-keys", *keys], check=True, timeout=PATIENCE)

    def type(self, text):
        subprocess.run([*self.tmux, "send-keys", "-l", text], check=True, timeout=PATIENCE)

    def run(self, command):
        self.type(str(command))
        self.press("Enter")

    def screen(self, *options):
        shown = subprocess.run(
            [*self.tmux, "capture-pane", "-p", *options], check=True, capture_output=True, text=True, timeout=PATIENCE,
        )
        return shown.stdout

    def pid(self):
        """The process number of the shell."""
        shown = subprocess.run(
            [*self.tmux, "display-message", "-p", "#{pane_pid}"], check=True, capture_output=True, text=True, timeout=PATIENCE,
        )
        return int(shown.stdout)

    def children(self):
        """What the shell runs."""
        shell = self.pid()
        return [int(pid) for pid in pathlib.Path(f"/proc/{shell}/task/{shell}/children").read_text().split()]

    def wait_for(self, wanted):
        """Until the screen has this pattern, or is as the function wants it; the screen."""
        is_there = wanted if callable(wanted) else lambda shown: re.search(wanted, shown, re.M)
        deadline = time.monotonic() + PATIENCE
        while not is_there(shown := self.screen()):
            assert time.monotonic() < deadline, f"{wanted} is not on the screen:\n{shown}"
            time.sleep(0.05)
        return shown

    def picture(self):
        """The screen as SVG. It follows the reader's choice of light or dark."""
        width, line, margin = 7.83, 17, 14
        texts = []
        for number, row in enumerate(self.screen("-e").rstrip("\n").split("\n")):
            y, column, styles = margin + line * number, 0, set()
            for codes, text in re.findall(r"(?:\x1b\[([\d;]*)m)?([^\x1b]*)", row):
                for code in codes.split(";") if codes else ():
                    styles = set() if code in ("", "0") else styles | {code}
                if text.strip() or "7" in styles and text:
                    x = margin + width * column
                    length = width * len(text)
                    if "7" in styles:
                        texts.append(f'<rect class="bar" x="{x:.1f}" y="{y}" width="{length:.1f}" height="{line}"/>')
                    kinds = " ".join(
                        kind for code, kind in (("1", "bold"), ("4", "under"), ("7", "reversed")) if code in styles
                    )
                    kind = f' class="{kinds}"' if kinds else ""
                    texts.append(
                        f'<text{kind} x="{x:.1f}" y="{y + 13}" textLength="{length:.1f}" xml:space="preserve">'
                        f"{html.escape(text)}</text>"
                    )
                column += len(text)
        across, down = margin * 2 + width * self.columns, margin * 2 + line * self.rows
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across:.0f} {down}" width="{across:.0f}" height="{down}" role="img">',
            "<style>",
            '  text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #24292f; }',
            "  .bold { font-weight: 700; } .under { text-decoration: underline; } .reversed { fill: #ffffff; }",
            "  .card { fill: #ffffff; stroke: #d0d7de; } .bar { fill: #24292f; }",
            "  @media (prefers-color-scheme: dark) {",
            "    text { fill: #e6edf3; } .reversed { fill: #0d1117; }",
            "    .card { fill: #0d1117; stroke: #30363d; } .bar { fill: #e6edf3; }",
            "  }",
            "</style>",
            f'<rect class="card" x="0.5" y="0.5" width="{across - 1:.0f}" height="{down - 1}" rx="6"/>',
            *texts,
            "</svg>",
        ]) + "\n"
