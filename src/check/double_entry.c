/*
 * Oracle: double-entry. The core says so itself (sched_fail with this verdict). A foreign program can only print a
 * message and abort: its words are recognized here, and its `assertion` becomes what it is.
 */
#include <string.h>

#include "check/oracles.h"

/* What coroutine code says when one is entered or scheduled a second time; each set of words must all occur. */
static const char *const words[][3] = {
    { "routine", "re-entered", NULL },
    { "routine", "already scheduled", NULL },
    { "routine", "already entered", NULL },
    { "routine", "twice", NULL },
};

static bool says_double_entry(const char *message)
{
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        bool all = true;

        for (unsigned k = 0; words[i][k]; k++) {
            all = all && strstr(message, words[i][k]);
        }
        if (all) {
            return true;
        }
    }
    return false;
}

bool check_double_entry(const SchedResult *result, CheckResult *verdict)
{
    if (verdict->verdict != CHECK_ASSERTION || !result->message || !says_double_entry(result->message)) {
        return false;
    }
    verdict->verdict = CHECK_DOUBLE_ENTRY;
    return true;
}
