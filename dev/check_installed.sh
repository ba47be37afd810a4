#!/usr/bin/env bash
# What a user types first, with an installed ddf_seg, in a folder that is emptied for it:
#   dev/check_installed.sh BIN FOLDER
# BIN holds the environment's programs. `make check-wheel` runs it on the wheel.
set -euo pipefail

if [ $# -ne 2 ]; then
    echo "usage: $0 BIN FOLDER" >&2
    exit 2
fi
bin=$(realpath "$1")
rm -rf "$2"
mkdir -p "$2"
cd "$2"
export OMP_NUM_THREADS=1
unset DDF_DATA_ROOT PYTHONPATH

ddf-seg() {
    echo "\$ ddf-seg $*"
    "$bin/ddf-seg" "$@" > log.txt 2>&1 || { cat log.txt; exit 1; }
    tail -n 1 log.txt
}

"$bin/python" -c 'import ddf_seg, ddf_seg.ops as ops, sys
assert ddf_seg.__file__.startswith(sys.prefix), f"{ddf_seg.__file__} is not the installed one"
assert ops.is_native_available(), "the operators are not compiled"'
ddf-seg predict --demo
ddf-seg scenes --train 8 --val 2 --jobs 2
ddf-seg train ddf_seg::ddf_demo.py --cfg-options train_cfg.max_iters=4 train_cfg.val_interval=4
ddf-seg test ddf_seg::ddf_demo.py work_dirs/ddf_demo/iter_4.pth
ddf-seg predict ddf_seg::ddf_demo.py work_dirs/ddf_demo/iter_4.pth data/demo/leftImg8bit/val \
    --out-dir mine
ddf-seg visualize ddf_seg::ddf_camvid_trainval_finetune.py ddf_seg::ddf_camvid.pth \
    predictions/scenes --html
ddf-seg swap mmseg::pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py -o ddf_pspnet.py
ddf-seg flops ddf_pspnet.py --shape 64 128
ls predictions/overlays mine/overlays filters/*/explorer.html > log.txt
echo "all of it works in $PWD"
