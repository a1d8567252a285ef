/* Peak of one core: independent fused multiply-adds on registers alone.
 *
 * A core finishes one or two vector FMAs per cycle, each after a latency of four or five cycles; so it needs at least
 * ten that do not depend on each other. Twelve accumulators leave room for the two operands in sixteen registers.
 */
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define ACCUMULATORS 12

typedef float vec __attribute__((vector_size(BYTES)));

/* Returns the number of floating-point operations (two for each multiply-add); `out` keeps the compiler from
 * leaving the work out. */
double fma_loop(long iterations, float *out) {
    vec acc[ACCUMULATORS], a, b;
    const int lanes = BYTES / sizeof(float);
    for (int l = 0; l < lanes; l++) {
        a[l] = 0.999f + out[0];
        b[l] = 1e-3f + out[0];
    }
    for (int i = 0; i < ACCUMULATORS; i++) acc[i] = b + (float)i;
    for (long n = 0; n < iterations; n++)
#pragma GCC unroll 12
        for (int i = 0; i < ACCUMULATORS; i++) acc[i] = acc[i] * a + b;
    vec sum = acc[0];
    for (int i = 1; i < ACCUMULATORS; i++) sum += acc[i];
    for (int l = 0; l < lanes; l++) out[0] += sum[l];
    return 2.0 * iterations * ACCUMULATORS * lanes;
}
