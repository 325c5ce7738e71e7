/* Names of verdicts. Pure functions: any thread may call them. */
#include "check/verdict.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[CHECK_VERDICT_COUNT] = {
#define X(constant, name) [CHECK_##constant] = name,
    CHECK_VERDICTS(X)
#undef X
};

const char *check_verdict_name(CheckVerdict verdict)
{
    if ((unsigned)verdict >= CHECK_VERDICT_COUNT) {
        abort();
    }
    return names[verdict];
}

bool check_verdict_parse(const char *name, CheckVerdict *verdict)
{
    for (unsigned i = 0; i < CHECK_VERDICT_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *verdict = (CheckVerdict)i;
            return true;
        }
    }
    return false;
}
