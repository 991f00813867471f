/* Stands in for the CUDA libraries while ONNX Runtime partitions a graph: one device, handles for
   the asking, no memory. The first allocation is refused, which ends the creation of the session
   after every node has been given to a provider and before any kernel is prepared.
   Every other function of these libraries is defined beside this file, weak, and returns success. */

#include <stdlib.h>

enum { VERSION = 13000, OUT_OF_MEMORY = 2, MAJOR = 75, MINOR = 76, GIGABYTE = 1 << 30 };

int placement_refusals = 0;

/* That a function of libc is called gives this library a table of symbol versions; glibc's loader
   stops at a library without one where versions are expected of it. */
#define HANDLE(name) int name(void **handle) { *handle = calloc(1, 4096); return 0; }
#define NO_MEMORY(name) int name(void **memory) { *memory = NULL; placement_refusals++; return OUT_OF_MEMORY; }
#define TEXT(name) const char *name(void) { return "there is no CUDA device"; }

HANDLE(cudaStreamCreate)
HANDLE(cudaStreamCreateWithFlags)
HANDLE(cudaStreamCreateWithPriority)
HANDLE(cudaEventCreate)
HANDLE(cudaEventCreateWithFlags)
HANDLE(cudaMemPoolCreate)
HANDLE(cublasCreate_v2)
HANDLE(cublasLtCreate)
HANDLE(cudnnCreate)
NO_MEMORY(cudaMalloc)
NO_MEMORY(cudaMallocAsync)
NO_MEMORY(cudaMallocFromPoolAsync)
NO_MEMORY(cudaMallocHost)
NO_MEMORY(cudaHostAlloc)
TEXT(cudaGetErrorName)
TEXT(cudaGetErrorString)
TEXT(cudnnGetErrorString)
TEXT(cublasGetStatusString)

void **__cudaRegisterFatBinary(void) { return calloc(1, 64); }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = VERSION; return 0; }
int cudaDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cudaStreamIsCapturing(void *stream, int *status) { *status = 0; return 0; }
int cudaMemGetInfo(size_t *available, size_t *total) { *available = *total = 64L * GIGABYTE; return 0; }
int cudnnDropoutGetStatesSize(void *handle, size_t *size) { *size = 1; return 0; }
size_t cudnnGetVersion(void) { return 90000; }

/* Compute capability 9.0; every other limit is 1024. */
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == MAJOR ? 9 : attribute == MINOR ? 0 : 1024;
  return 0;
}

/* The fields of cudaDeviceProp that CUDA 12 and 13 hold at the same place. */
struct properties {
  char name[256], identity[32];
  size_t memory, shared_memory;
  int registers, warp;
  size_t pitch;
  int threads, block[3], grid[3], clock;
  size_t constants;
  int major, minor;
};

int cudaGetDeviceProperties(struct properties *device) {
  *device = (struct properties){.name = "none", .memory = 64L * GIGABYTE, .shared_memory = 49152,
                                .registers = 65536, .warp = 32, .threads = 1024, .major = 9};
  return 0;
}
int cudaGetDeviceProperties_v2(struct properties *device) { return cudaGetDeviceProperties(device); }
