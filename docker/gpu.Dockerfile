# mer on NVIDIA's image of TensorRT, which has TensorRT 11 and CUDA 13. The machine needs a driver of series 580 or
# newer and NVIDIA's container toolkit, and nothing else. From the root of a checkout:
#
#   docker build -f docker/gpu.Dockerfile -t mer-gpu .
#   docker run --rm --gpus all -v "$PWD:/data" mer-gpu mer-export -m audiocnn --fp16 --builder tensorrt -o engines/
#   docker run --rm --gpus all -v "$PWD:/data" mer-gpu mer-label music/ -m engines/audiocnn_fp16.engine --device cuda
#
# It was not built where it was written: no container engine was at hand.
ARG TENSORRT_IMAGE=nvcr.io/nvidia/tensorrt:26.08-py3
FROM ${TENSORRT_IMAGE}

# NVIDIA's images pin versions for all of pip; these pins are for their own examples.
ENV PIP_CONSTRAINT= PIP_NO_CACHE_DIR=1 PATH=/opt/mer/bin:$PATH
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
# The image's own TensorRT is used: fetching another one from NVIDIA's index would take gigabytes.
RUN python3 -m venv --system-site-packages /opt/mer && python -c "import tensorrt; print(tensorrt.__version__)"
COPY . /src
RUN pip install "/src[gpu]" && rm -rf /src && mer-label --version
WORKDIR /data
