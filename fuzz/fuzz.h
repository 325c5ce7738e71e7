/*
 * What a target is written with. A target reads a scenario from the front of the input and runs it as ordinary code; the schedule
 * comes from the back of the same input, and the target never sees it. docs/writing-a-target.md shows how.
 *
 * Reading never fails: where the input is used up, everything reads as zero. So each byte string is some scenario, and a shorter or a
 * zeroed one is a simpler scenario: let 0 mean the plainest case.
 */
#ifndef WAKEFUZZ_FUZZ_FUZZ_H
#define WAKEFUZZ_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct FuzzInput {
    const uint8_t *data;
    size_t size, position;
} FuzzInput;

/* One byte. */
static inline uint8_t fuzz_byte(FuzzInput *in)
{
    return in->position < in->size ? in->data[in->position++] : 0;
}

/* A flag: the lowest bit of a byte. */
static inline bool fuzz_flag(FuzzInput *in)
{
    return fuzz_byte(in) & 1;
}

/* One of n > 0 choices, 0 to n - 1; n at most 256. */
static inline unsigned fuzz_choice(FuzzInput *in, unsigned n)
{
    return fuzz_byte(in) % n;
}

/* A number from low to high, both included; one byte, so at most 256 different ones. */
static inline unsigned fuzz_range(FuzzInput *in, unsigned low, unsigned high)
{
    return low + fuzz_byte(in) % (high - low + 1);
}

/* Copy up to size bytes; returns how many there were. */
static inline size_t fuzz_bytes(FuzzInput *in, void *buffer, size_t size)
{
    size_t n = 0;

    for (; n < size && in->position < in->size; n++) {
        ((uint8_t *)buffer)[n] = in->data[in->position++];
    }
    return n;
}

/* Bytes not yet read. */
static inline size_t fuzz_left(const FuzzInput *in)
{
    return in->size - in->position;
}

typedef struct FuzzTarget {
    const char *name;            /* as the source file and the corpus folder */
    void (*run)(FuzzInput *in);  /* the scenario, on a fresh main thread; must leave nothing behind */
    uint64_t steps_max;          /* step bound; 0: the scheduler's default */
    uint32_t recursion_max;      /* a return address this often on one stack is a stack overflow; 0: the default */
    uint64_t late_ns;            /* a wakeup that only a timer brings after this much virtual time is late; 0: the default */
    bool disturbs;               /* blocking calls may be interrupted, and transfers cut short, where the input asks */
    const char *const
        *windows;  /* what fuzz_reached() names, NULL at the end: the corpus must enter each (tests/corpus/windows) */
} FuzzTarget;

/* Each target defines this once. */
extern const FuzzTarget fuzz_target;

/* The scenario's own invariant: what must hold whatever the schedule was. Ends the execution as `assertion` and names it. */
__attribute__((noreturn, format(printf, 1, 2))) void fuzz_violated(const char *format, ...);
#define fuzz_check(condition)                                                                                    \
    do {                                                                                                         \
        if (!(condition)) {                                                                                      \
            fuzz_violated("%s: invariant '%s' does not hold (%s:%d)", __func__, #condition, __FILE__, __LINE__); \
        }                                                                                                        \
    } while (0)

/* A path for a file of this name, until the next call. */
const char *fuzz_file(const char *name);

/* Nanoseconds, to measure how long something took; no step of the program. In flavours that are simulated the time is virtual, and it makes a
 * jump of some length (200 ms) only when nobody can run. */
uint64_t fuzz_time_ns(void);

/* Which faults of the disk the input may choose from now on, in flavours that are simulated: requests that fail or move only a part;
 * batches of which io_submit takes only a part, nothing for now, or not the first one. */
void fuzz_disk_faults(bool requests, bool batches);

/* The calling thread stands for another process: in flavours that are simulated none of its descriptors' numbers is one that the rest of the
 * program may close, or use, once too often. */
void fuzz_other_process(void);

/* The execution is in this window, one of the target's .windows: the reachability test counts in how many it was. At most 64 names;
 * static storage. */
void fuzz_reached(const char *window);

/*
 * One line of what a user of the program could see: which callback ran where, with which result. TARGET-replay --history prints them with
 * the thread's number in front, and tests/conform compares those of two programs. At most 64 KiB in an execution; the rest is left out.
 */
__attribute__((format(printf, 1, 2))) void fuzz_note(const char *format, ...);

#endif
