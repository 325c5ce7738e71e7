/* Repetition in a sequence of keys; see cycle.h. Pure functions. */
#include "check/cycle.h"

#include <stdlib.h>

enum { REPEATS_MIN = 3 };

static bool again(const uint64_t *keys, size_t count, size_t length, size_t i)
{
    return i + length < count && keys[i] == keys[i + length];
}

/* The longest stretch of at least `least` > 0 keys of which each equals the one `length` further on. Returns how many keys it covers, both
 * ends included; 0: there is none. A stretch as long as that holds one of the places that lie so far apart, so that no others are looked at. */
static size_t longest_stretch(const uint64_t *keys, size_t count, size_t length, size_t least, size_t *first)
{
    size_t best = 0;

    for (size_t i = least - 1; i + length < count; i += least) {
        size_t low = i;

        if (!again(keys, count, length, i)) {
            continue;
        }
        while (low > 0 && again(keys, count, length, low - 1)) {
            low--;
        }
        while (again(keys, count, length, i + 1)) {
            i++;
        }
        if (i + 1 - low >= least && i + 1 - low > best) {
            best = i + 1 - low;
            *first = low;
        }
        i++; /* not part of a stretch */
    }
    return best ? best + length : 0;
}

static bool find_regular(const uint64_t *keys, size_t count, CheckCycle *cycle)
{
    size_t best = 0;

    /* A multiple of a period is a period too: a longer one must cover more than twice as much to be the better answer. */
    for (size_t length = 1; length * REPEATS_MIN <= count; length++) {
        size_t turns = (REPEATS_MIN - 1) * length, more = 2 * best + 1 > length ? 2 * best + 1 - length : 1, first = 0;
        size_t covered = longest_stretch(keys, count, length, turns > more ? turns : more, &first);

        if (covered) {
            best = covered;
            *cycle = (CheckCycle){ .first = first, .length = length, .repeats = covered / length, .regular = true };
        }
    }
    return best > 0;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static size_t most_occurrences(const uint64_t *sorted, size_t count)
{
    size_t most = 0;

    for (size_t i = 0, run = 0; i < count; i++) {
        run = i && sorted[i] == sorted[i - 1] ? run + 1 : 1;
        most = run > most ? run : most;
    }
    return most;
}

/* Does the key occur so often, which is as often as any does? */
static bool occurs(const uint64_t *sorted, size_t count, uint64_t key, size_t most)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sorted[middle] < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low + most <= count && sorted[low + most - 1] == key;
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
    uint64_t *sorted = malloc((count + 1) * sizeof(*sorted));
    size_t most, at = 0;

    if (!sorted) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = keys[i];
    }
    qsort(sorted, count, sizeof(*sorted), compare_keys);
    most = most_occurrences(sorted, count);
    while (most >= REPEATS_MIN && !occurs(sorted, count, keys[at], most)) {
        at++;
    }
    free(sorted);
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
