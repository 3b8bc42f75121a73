/* The operations of host_x87.h by name, many at a time: built once as it is and once with -DPCEMU_PORTABLE, for test_x87_portable.py. */
#include "host_x87.h"

#define F(n) {#n, x_##n}
#define ROW(n) F(n), F(n##_m32), F(n##_m64), F(n##_i16), F(n##_i32)
static const struct { const char *name; x87_fn f; } table[] = {
    ROW(add), ROW(mul), ROW(sub), ROW(subr), ROW(div), ROW(divr), ROW(com), F(ucom), F(sqrt), F(rndint), F(scale), F(prem), F(prem1),
    F(xtract), F(ld32), F(ld64), F(ldbcd), F(st32), F(st64), F(ist16), F(ist32), F(ist64), F(stbcd), F(2xm1), F(yl2x), F(yl2xp1),
    F(patan), F(ptan), F(sin), F(cos), F(sincos),
};
typedef struct { uint8_t a[16], b[16]; uint32_t cw, pad[3]; } args;
typedef struct { uint8_t d[32]; uint32_t sw, pad[3]; } result;

int host_has_x87(void) { return PCEMU_HOST_X87; }

int run(const char *name, int n, const args *in, result *out)
{
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (!strcmp(table[i].name, name)) {
            for (int k = 0; k < n; k++) {
                memset(&out[k], 0, sizeof(out[k]));
                out[k].sw = x87_run(table[i].f, out[k].d, in[k].a, in[k].b, in[k].cw, 0);
            }
            return 1;
        }
    return 0;
}
