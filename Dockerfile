# ddf_seg with mmsegmentation, for the CPU:
#   docker build -t ddf_seg .
#   docker run --rm -v "$PWD:/work" ddf_seg predict --demo
# With CUDA kernels, which need an image with nvcc and a torch for that CUDA:
#   docker build -t ddf_seg:cuda --build-arg BASE=nvidia/cuda:12.8.1-devel-ubuntu24.04 \
#     --build-arg FORCE_CUDA=1 .
#   docker run --rm --gpus all -v "$PWD:/work" ddf_seg:cuda predict --demo
ARG BASE=ubuntu:24.04

FROM ${BASE} AS build
ARG TORCH=torch==2.13.0
ARG FORCE_CUDA=0
# An index with torch for the CPU alone, or for another CUDA; smaller by gigabytes
ARG PIP_EXTRA_INDEX_URL=
ENV DDF_SEG_BUILD_NATIVE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update && apt-get install -y --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/ddf_seg
ENV PATH=/opt/ddf_seg/bin:$PATH
COPY constraints.txt /src/
RUN pip install -c /src/constraints.txt 'setuptools<82' wheel "${TORCH}"
COPY . /src
RUN FORCE_CUDA=${FORCE_CUDA} pip install -c /src/constraints.txt --no-build-isolation \
    '/src[mmseg,demo,visualization,onnx]'

FROM ${BASE}
# OpenCV's libraries
RUN apt-get update && apt-get install -y --no-install-recommends python3 libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/ddf_seg /opt/ddf_seg
ENV PATH=/opt/ddf_seg/bin:$PATH
WORKDIR /work
ENTRYPOINT ["ddf-seg"]
CMD ["--help"]
