# docker build -t app . ; how to run it: docs/deploying.md
FROM python:3.13-slim

RUN useradd --system --no-create-home --uid 10001 app
WORKDIR /srv/app

# Install the packages first: Docker reuses this layer until requirements.txt changes.
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY app app
COPY static static
COPY templates templates

# The folder of the default session store. The volume outlives the container, and belongs to the user that runs the app.
RUN install --directory --owner app --group app --mode 700 var
VOLUME /srv/app/var

USER 10001
EXPOSE 8000
ENV WEB_CONCURRENCY=2
# Bypass a proxy named in http_proxy, which does not lead back into the container.
HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8000/health', timeout=5)"]
# A list, not a string: then uvicorn, not a shell, gets the SIGTERM of `docker stop`.
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000", "--timeout-keep-alive", "95", "--timeout-graceful-shutdown", "25"]
