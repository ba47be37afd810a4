"""Sphinx builds these pages: make docs."""

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / '_extensions'))

import ddf_seg
import ddf_seg.openmmlab  # mends OpenMMLab before autodoc imports the heads

# It says of every notebook that it is executed.
logging.getLogger('traitlets').setLevel(logging.WARNING)

project = 'ddf_seg'
copyright = 'ddf_seg contributors, Apache-2.0'
version = release = ddf_seg.__version__

extensions = [
    'myst_nb',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx_copybutton',
    'sphinx_design',
    'mathml',
    'repository_links',
    'repository_tables',
]
exclude_patterns = ['_extensions', 'jupyter_execute']
suppress_warnings = [
    # Pages of the repository's own, such as CHANGELOG.md, may skip a level of headings.
    'myst.header',
]

myst_enable_extensions = ['colon_fence', 'dollarmath', 'html_image']
myst_heading_anchors = 4
nb_execution_mode = 'force'
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_render_markdown_format = 'myst'

# `name` in a docstring is code.
default_role = 'py:obj'
autodoc_typehints = 'signature'
autodoc_member_order = 'bysource'
autodoc_default_options = {'exclude-members': 'init_weights, extra_repr'}
napoleon_use_ivar = True
# 'height, width: …' stays one entry.
napoleon_use_param = False
python_use_unqualified_type_names = True
add_module_names = False

html_math_renderer = 'mathml'
html_theme = 'furo'
html_title = 'ddf_seg'
html_static_path = ['_static']
html_css_files = ['pages.css']
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    'light_css_variables': {'color-brand-primary': '#1d5f99', 'color-brand-content': '#1d5f99'},
    'dark_css_variables': {'color-brand-primary': '#7ab8f5', 'color-brand-content': '#7ab8f5'},
}
copybutton_prompt_text = r'>>> |\.\.\. |\$ '
copybutton_prompt_is_regexp = True
