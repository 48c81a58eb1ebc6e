# KD Explorer for the CPU: not root, writable only under /data, with a health check.
FROM python:3.13-slim AS build
RUN python -m venv /venv
COPY requirements.txt /
# torch without CUDA is a tenth of the size: give the address that pytorch.org names for pip and CPU,
# `docker build --build-arg TORCH_CPU_INDEX=…`. Without it the image works too, and is some gigabytes larger.
ARG TORCH_CPU_INDEX=
RUN /venv/bin/pip install --no-cache-dir ${TORCH_CPU_INDEX:+--extra-index-url "$TORCH_CPU_INDEX"} -r /requirements.txt

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --home-dir /data kdexplorer && mkdir /data && chown kdexplorer /data
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
RUN chmod -R a+rX /app
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    KDEXPLORER_RUNS=/data/runs \
    KDEXPLORER_DATA=/data/cifar10
USER kdexplorer
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8501/_stcore/health', timeout=4)"]
# Runs outlive the server, not the container: they end with it as at a power cut, and are resumed from their last save.
CMD ["streamlit", "run", "streamlit_app.py", "--server.address=0.0.0.0", "--server.headless=true"]
