# STAFF Studio in a container.
#
#   docker build -t staff-studio .
#   docker run --rm -p 127.0.0.1:8501:8501 -v staff-studio:/data staff-studio
#
# The app is then at http://127.0.0.1:8501. A command follows the name of the image:
#
#   docker run --rm -v staff-studio:/data staff-studio list
#
# For an NVIDIA GPU, take PyTorch's build for your CUDA version, and give the container the GPU:
#
#   docker build -t staff-studio --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#   docker run --rm --gpus all -p 127.0.0.1:8501:8501 -v staff-studio:/data staff-studio

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /source
RUN pip install --no-cache-dir build==1.6.1
COPY . .
RUN python -m build --wheel --outdir /wheels

FROM python:${PYTHON}-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# In an order in which a change of the code leaves the layer of the libraries as it is.
COPY requirements.txt /tmp/
RUN pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" -r /tmp/requirements.txt
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps /wheels/*.whl

RUN useradd --create-home --uid 1000 staff && install --directory --owner=staff /data
USER 1000
WORKDIR /home/staff

# Runs, and models from the hub. The address is that of the container; -p says who reaches it.
ENV STAFF_HOME=/data \
    HF_HOME=/data/huggingface \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]

ENTRYPOINT ["staff-studio"]
CMD ["--no-browser"]
