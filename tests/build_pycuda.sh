#!/usr/bin/env bash
# Builds PyCUDA into the environment whose python is on PATH, on a machine without CUDA: headers from the
# CUDA 13 wheels that torch brings, an empty library in libcuda's place for the linker (the tests load a
# stub driver under that name, a machine with a GPU its driver). Two to four minutes, once.
set -euo pipefail
version=2026.1
if python -c "import importlib.metadata as m; m.version('pycuda')" 2>/dev/null; then
    echo "PyCUDA is there"
    exit 0
fi
headers=$(python -c "
import nvidia, pathlib
found = [p / 'cu13' / 'include' for p in map(pathlib.Path, nvidia.__path__)]
print(next((p for p in found if (p / 'cuda.h').is_file()), ''))")
[ -n "$headers" ] || { echo "no cuda.h: install the CUDA 13 build of torch, or cuda-toolkit's wheels" >&2; exit 1; }
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
pip download -q --no-deps --no-binary pycuda -d "$room" "pycuda==$version"
tar xzf "$room/pycuda-$version.tar.gz" -C "$room"
mkdir "$room/lib"
# One symbol, so that a linker that leaves unneeded libraries out keeps it.
echo "void cuInit(void) {}" | cc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$room/lib/libcuda.so" -x c -
mkdir "$room/include"
# The one header that the wheels lack, as NVIDIA documents it.
cat >"$room/include/cudaProfiler.h" <<HEADER
#include <cuda.h>
extern "C" {
typedef enum CUoutput_mode_enum { CU_OUT_KEY_VALUE_PAIR = 0, CU_OUT_CSV = 1 } CUoutput_mode;
CUresult CUDAAPI cuProfilerInitialize(const char *, const char *, CUoutput_mode);
CUresult CUDAAPI cuProfilerStart(void);
CUresult CUDAAPI cuProfilerStop(void);
}
HEADER
cat >"$room/pycuda-$version/siteconf.py" <<CONF
CUDA_INC_DIR = ["$headers", "$room/include"]
CUDADRV_LIB_DIR = ["$room/lib"]
CUDA_ENABLE_CURAND = False
CXXFLAGS = ["-O1", "-g0", "-w"]
CONF
pip install -q "$room/pycuda-$version" >"$room/log" 2>&1 || { tail -n 20 "$room/log" | cut -c 1-300 >&2; exit 1; }
python -c "import importlib.metadata as m; print('PyCUDA', m.version('pycuda'), 'built')"
