"""Draws docs/explorer.png: the page of a drawn scene, in chromium (and its driver).

`python docs/explorer.py` needs the extras that `make setup` installs.
"""

import shutil
import tempfile
import time
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
from mmseg.apis import init_model
from selenium import webdriver

from ddf_seg.visualization import explore

SIZE = (1400, 900)
# What is shown: a filtering layer, the likeness to a pixel of the kerb, a pixel of the pole.
ADDRESS = '#v0=decode_head.refinements.0.depthwise~similarity~0&n=330,190&p=450,143&t=kinds'

config = 'configs/ddf_camvid_trainval_finetune.py'
model = init_model(config, 'checkpoints/ddf_camvid.pth', device='cpu')
options = webdriver.ChromeOptions()
options.binary_location = shutil.which('chromium') or 'chromium'
for flag in ('--headless=new', '--no-sandbox', '--disable-gpu'):
    options.add_argument(flag)
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / 'page.html'
    explore(model, 'docs/demo/scene.png').save(file)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which('chromedriver')))
    try:
        metrics = {'width': SIZE[0], 'height': SIZE[1], 'deviceScaleFactor': 1, 'mobile': False}
        driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
        driver.get(file.as_uri() + ADDRESS)
        while not driver.execute_script('return window.explorer?.ready'):
            time.sleep(0.1)
        time.sleep(0.5)
        driver.save_screenshot(str(Path(__file__).with_suffix('.png')))
    finally:
        driver.quit()
