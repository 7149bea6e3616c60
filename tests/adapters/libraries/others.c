/* What each of these libraries exports to tell of itself, one of them at a time. */
#include <string.h>

#ifdef MKL
void MKL_Get_Version_String(char *text, int length) {
    strncpy(text, "Intel(R) oneAPI Math Kernel Library Version 2024.0-Product Build 20231011", length);
}
int MKL_CBWR_Get_Auto_Branch(void) { return 12; }
#endif
#ifdef ONEDNN
static const struct { int major, minor, patch; const char *hash; } version = {3, 7, 1, "80afa71"};
const void *dnnl_version(void) { return &version; }
int dnnl_get_effective_cpu_isa(void) { return 0xe7; }
#endif
#ifdef BLIS
char *bli_info_get_version_str(void) { return "0.9.0"; }
int bli_arch_query_id(void) { return 3; }
char *bli_arch_string(int id) { return id == 3 ? "zen3" : ""; }
#endif
#ifdef CUDA
unsigned long cublasLtGetVersion(void) { return 120805; }
unsigned long cudnnGetVersion(void) { return 91002; }
#endif
#ifdef CUDART
int cudaRuntimeGetVersion(int *version) { *version = 12080; return 0; }
#endif
#ifdef NCCL
int ncclGetVersion(int *version) { *version = 22705; return 0; }
#endif
#ifdef OLD_NCCL
int ncclGetVersion(int *version) { *version = 2708; return 0; }
#endif
#ifdef BROKEN_CUDART
int cudaRuntimeGetVersion(int *version) { *version = 12080; return 35; }
#endif
#ifdef OLD_CUDNN
unsigned long cudnnGetVersion(void) { return 8907; }
#endif
int something_else(void) { return 1; }
