/*
 * Scheduling points at atomic accesses: what a program under test includes to make them visible to the scheduler.
 *
 * A site is one place in the source. Its stable name (function, file, expression, ordinal) is the same in every build flavour, so
 * that an input which mentions a site replays everywhere.
 */
#ifndef WAKEFUZZ_SCHED_POINT_H
#define WAKEFUZZ_SCHED_POINT_H

#include <stddef.h>
#include <stdint.h>

/* What a step does to its object. */
typedef enum SchedOperation {
    SCHED_LOAD,
    SCHED_STORE,
    SCHED_RMW,
    SCHED_FENCE,
    SCHED_CALL, /* a call of the simulated OS; see SchedCall in sched.h */
} SchedOperation;

typedef struct SchedSite {
    const char *file;
    const char *function;
    const char *expression; /* of the object, as written, for the step table */
    uint32_t line;
    uint32_t id;        /* stable name as a number; set at start-up; 0 before */
    uint8_t operation;  /* SchedOperation */
    uint8_t size_bytes; /* of the object: 1, 2, 4 or 8; 0 for a fence, and for a larger one, whose value no step holds */
} SchedSite;

/*
 * The calling thread is about to do site->operation on object; new_value is what a store will write. Another thread may run
 * before this returns. Outside an execution, or on a thread that is not the scheduler's, it returns at once.
 */
void sched_atomic(SchedSite *site, const volatile void *object, uint64_t new_value);

/* The same for a store that belongs to the step before it, of a simulated kernel: recorded, and no scheduling point. */
void sched_note_store(SchedSite *site, const volatile void *object, uint64_t new_value);

/* As sched_atomic(), of a store whose value the caller does not know: it is looked up when the next step is recorded. */
void sched_store(SchedSite *site, const volatile void *object);

/* The read-modify-write announced last by this thread has been done. */
void sched_atomic_done(void);

#define SCHED_SITE_(operation_, expression_, size_)                                                                       \
    static SchedSite sched_site_ __attribute__((section("sched_sites"), used, aligned(8))) = { .file = __FILE__,          \
                                                                                               .function = __func__,      \
                                                                                               .expression = expression_, \
                                                                                               .line = __LINE__,          \
                                                                                               .operation = operation_,   \
                                                                                               .size_bytes = size_ }

#define SCHED_ATOMIC_POINT(operation, text, pointer, new_value) \
    do {                                                        \
        SCHED_SITE_(operation, text, sizeof(*(pointer)));       \
        sched_atomic(&sched_site_, pointer, new_value);         \
    } while (0)

#define SCHED_NOTE_STORE(text, pointer, new_value)          \
    do {                                                    \
        SCHED_SITE_(SCHED_STORE, text, sizeof(*(pointer))); \
        sched_note_store(&sched_site_, pointer, new_value); \
    } while (0)

#define SCHED_FENCE_POINT()                    \
    do {                                       \
        SCHED_SITE_(SCHED_FENCE, "smp_mb", 0); \
        sched_atomic(&sched_site_, NULL, 0);   \
    } while (0)

#endif
