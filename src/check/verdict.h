/*
 * The closed list of verdicts: one vocabulary for code, tests, corpus, messages and documents.
 */
#ifndef WAKEFUZZ_CHECK_VERDICT_H
#define WAKEFUZZ_CHECK_VERDICT_H

#include <stdbool.h>

/* X(CONSTANT, "name"). The names are part of corpus files, fault headers and dedup tokens: never rename one. */
#define CHECK_VERDICTS(X)                 \
    X(NONE, "none")                       \
    X(MISSED_WAKEUP, "missed-wakeup")     \
    X(LATE_WAKEUP, "late-wakeup")         \
    X(DEADLOCK, "deadlock")               \
    X(LIVELOCK, "livelock")               \
    X(LOST_COMPLETION, "lost-completion") \
    X(STACK_OVERFLOW, "stack-overflow")   \
    X(DOUBLE_ENTRY, "double-entry")       \
    X(LEAK, "leak")                       \
    X(DATA_RACE, "data-race")             \
    X(USE_AFTER_FREE, "use-after-free")   \
    X(UNDEFINED, "undefined")             \
    X(ASSERTION, "assertion")             \
    X(UNMODELLED, "unmodelled")           \
    X(NONDETERMINISM, "nondeterminism")

typedef enum CheckVerdict {
#define X(constant, name) CHECK_##constant,
    CHECK_VERDICTS(X)
#undef X
        CHECK_VERDICT_COUNT
} CheckVerdict;

/* "missed-wakeup" for CHECK_MISSED_WAKEUP. Static storage. Any thread. */
const char *check_verdict_name(CheckVerdict verdict);

/* The verdict of that name. Returns false and leaves *verdict alone where there is none ("none" is one). Any thread. */
bool check_verdict_parse(const char *name, CheckVerdict *verdict);

#endif
