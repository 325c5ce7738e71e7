/*
 * Finding what repeats in a sequence: the recursion in a stack, the loop at the end of a trace. Pure.
 */
#ifndef WAKEFUZZ_CHECK_CYCLE_H
#define WAKEFUZZ_CHECK_CYCLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct CheckCycle {
    size_t first;   /* index of its first element */
    size_t length;  /* elements of one turn */
    size_t repeats; /* whole turns in a row; where irregular, how often its first element occurs */
    bool regular;   /* false: the turns differ, this is the shortest of them */
} CheckCycle;

/*
 * The smallest sequence that repeats at least three times in a row and covers at least half of what any repetition
 * covers. Where nothing repeats in a row, the shortest way from the most frequent key back to itself. Returns false
 * when no key occurs three times. The time it takes is hardly more than that of sorting, unless many stretches repeat for long and then break.
 */
bool check_cycle_find(const uint64_t *keys, size_t count, CheckCycle *cycle);

#endif
