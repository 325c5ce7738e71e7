/* Repetition in a sequence of keys; see cycle.h. Pure functions. */
#include "check/cycle.h"

enum { REPEATS_MIN = 3 };

/* The longest stretch in which each key equals the one `length` further on. Returns how many keys it covers, both
 * ends included. */
static size_t longest_stretch(const uint64_t *keys, size_t count, size_t length, size_t *first)
{
    size_t best = 0, run = 0;

    for (size_t i = 0; i + length < count; i++) {
        run = keys[i] == keys[i + length] ? run + 1 : 0;
        if (run > best) {
            best = run;
            *first = i + 1 - run;
        }
    }
    return best ? best + length : 0;
}

static bool find_regular(const uint64_t *keys, size_t count, CheckCycle *cycle)
{
    size_t best = 0;

    for (size_t length = 1; length * REPEATS_MIN <= count; length++) {
        size_t first = 0;
        size_t covered = longest_stretch(keys, count, length, &first);

        /* A multiple of a period is a period too: a longer one must cover twice as much to be the better answer. */
        if (covered / length >= REPEATS_MIN && covered > 2 * best) {
            best = covered;
            *cycle = (CheckCycle){ .first = first, .length = length, .repeats = covered / length, .regular = true };
        }
    }
    return best > 0;
}

static size_t occurrences(const uint64_t *keys, size_t count, uint64_t key)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        n += keys[i] == key;
    }
    return n;
}

/* The shortest way from one occurrence of key to the next. */
static size_t shortest_turn(const uint64_t *keys, size_t count, uint64_t key, size_t *first)
{
    size_t best = count, last = count;

    for (size_t i = 0; i < count; i++) {
        if (keys[i] != key) {
            continue;
        }
        if (last < count && i - last < best) {
            best = i - last;
            *first = last;
        }
        last = i;
    }
    return best;
}

static bool find_irregular(const uint64_t *keys, size_t count, CheckCycle *cycle)
{
    size_t most = 0, at = 0;

    for (size_t i = 0; i < count; i++) {
        size_t n = occurrences(keys, count, keys[i]);

        if (n > most) {
            most = n;
            at = i;
        }
    }
    if (most < REPEATS_MIN) {
        return false;
    }
    cycle->repeats = most;
    cycle->regular = false;
    cycle->length = shortest_turn(keys, count, keys[at], &cycle->first);
    return true;
}

bool check_cycle_find(const uint64_t *keys, size_t count, CheckCycle *cycle)
{
    CheckCycle regular = { 0 }, irregular = { 0 };
    bool is_regular = find_regular(keys, count, &regular);

    /* A chance repetition (three equal frames at the base) must not hide a recursion that winds through the whole
     * stack. */
    if (is_regular && regular.length * regular.repeats * 3 >= count) {
        *cycle = regular;
        return true;
    }
    if (find_irregular(keys, count, &irregular)) {
        *cycle = is_regular && irregular.repeats <= regular.repeats ? regular : irregular;
        return true;
    }
    return false;
}
