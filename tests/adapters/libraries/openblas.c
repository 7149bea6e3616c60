/* An OpenBLAS that is told by variables what it does: under CRASHES it ends when it is loaded, under
   WRONG it is off by one; of KNOWN alone it is another core type than Barcelona. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int is(const char *variable, const char *core) {
    const char *value = getenv(variable);
    return value && strcasecmp(value, core) == 0;
}

char *openblas_get_corename(void) {
    char *asked = getenv("OPENBLAS_CORETYPE");
    if (!asked) return "Barcelona";
    const char *known = getenv("KNOWN");
    return known && !strstr(known, asked) ? "Prescott" : asked;
}

char *openblas_get_config(void) { return "OpenBLAS 0.3.13 DYNAMIC_ARCH NO_AFFINITY MAX_THREADS=64"; }

__attribute__((constructor)) static void load(void) {
    if (is("CRASHES", openblas_get_corename())) abort();
}

static float at(const float *a, int turned, int lda, int row, int column) {
    return turned ? a[column * lda + row] : a[row * lda + column];
}

void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc) {
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float sum = 0;
            for (int l = 0; l < k; l++)
                sum += at(a, ta == 112, lda, i, l) * at(b, tb == 112, ldb, l, j);
            c[i * ldc + j] = alpha * sum + beta * c[i * ldc + j];
        }
    if (is("WRONG", openblas_get_corename())) c[0] += 1;
}
