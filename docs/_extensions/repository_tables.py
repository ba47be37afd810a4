"""What the repository knows of itself, as parts of a page: help of tools, configs, the zoo."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from ddf_seg import cli
from ddf_seg.cli import convert
from ddf_seg.engine.weights.package_weights import resolve_package_file

ROOT = Path(__file__).resolve().parents[2]


class _Table(SphinxDirective):
    def rows(self) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes('\n'.join(self.rows()), allow_section_headings=True)


class ToolReference(_Table):
    """What `ddf-seg COMMAND --help` prints, for every command."""

    def rows(self) -> list[str]:
        for module in (ROOT / 'ddf_seg' / 'cli').rglob('*.py'):
            self.env.note_dependency(str(module))
        commands = [(name,) for name in cli.COMMANDS if name != 'convert']
        commands += [('convert', name) for name in convert.NAMES]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            helps = list(pool.map(_help, commands))
        rows = []
        for command, text in zip(commands, helps, strict=True):
            rows += [f'## ddf-seg {" ".join(command)}', '', '````text', text, '````', '']
        return rows


def _help(command: Sequence[str]) -> str:
    """What the console command prints; it may be installed for another checkout."""
    call = "import sys; sys.argv[0] = 'ddf-seg'; from ddf_seg.cli import main; sys.exit(main())"
    shown = subprocess.run(
        [sys.executable, '-c', call, *command, '--help'],
        cwd=ROOT,
        env={**os.environ, 'COLUMNS': '84', 'NO_COLOR': '1'},
        capture_output=True,
        text=True,
        check=True,
    )
    return shown.stdout.strip()


class ConfigTable(_Table):
    """All configs, and the comments that they begin with."""

    def rows(self) -> list[str]:
        rows = ['| config | what it is |', '|---|---|']
        for config in sorted((ROOT / 'configs').glob('*.py')):
            self.env.note_dependency(str(config))
            lines = []
            for line in config.read_text().splitlines():
                if not line.startswith('#'):
                    break
                lines.append(line[1:].strip())
            comment = re.sub(
                r'(--cfg-options \S+|\b\S+/\S+\.(?:py|pth)\b)', r'`\1`', ' '.join(lines)
            )
            rows.append(f'| `{config.name}` | {comment} |')
        return rows


class ModelZoo(_Table):
    """The networks in configs/metafile.yaml that have weights: scores, size and checksum."""

    def rows(self) -> list[str]:
        metafile = ROOT / 'configs' / 'metafile.yaml'
        self.env.note_dependency(str(metafile))
        rows = []
        for model in yaml.safe_load(metafile.read_text())['Models']:
            content = resolve_package_file(model['Weights']).read_bytes()
            trained = model['Metadata']
            rows += [
                f'## {model["Name"]}',
                '',
                '| | |',
                '|---|---|',
                f'| config | `{model["Config"]}` |',
                f'| network | {" + ".join(trained["Architecture"])} |',
                f'| trained on | {trained["Training Data"]}, {trained["Iterations"]} iterations of '
                f'{trained["Batch Size"]} images, {trained["Training Resources"]} |',
            ]
            for result in model['Results']:
                scores = ', '.join(f'{value} {name}' for name, value in result['Metrics'].items())
                rows.append(f'| {result["Dataset"]} | {scores} |')
            rows += [
                f'| weights | `{model["Weights"]}`, {len(content) / 1e6:.1f} MB |',
                f'| SHA-256 | `{hashlib.sha256(content).hexdigest()}` |',
                '',
            ]
        return rows


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive('tool-reference', ToolReference)
    app.add_directive('config-table', ConfigTable)
    app.add_directive('model-zoo', ModelZoo)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
