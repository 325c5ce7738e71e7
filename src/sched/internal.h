/* What the files of src/sched share and nobody else sees. */
#ifndef WAKEFUZZ_SCHED_INTERNAL_H
#define WAKEFUZZ_SCHED_INTERNAL_H

#include <pthread.h>

#include "sched/arch.h"
#include "sched/random.h"
#include "sched/sched.h"

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* ---- objects: identities within one execution (object.c) */

/* 32 bytes: two share a cache line, and each access of the program looks at one. */
typedef struct SchedObject {
    uintptr_t key;
    SchedThread *pending;  /* POS: the threads whose next event is on it */
    uint16_t id;           /* ordinal of first use, from 1 */
    uint16_t last_write;   /* low 16 bits of the site of the last write; SCHED_SITE_INITIAL */
    uint16_t last_site;    /* of the last access of any kind, for learning */
    uint16_t last_writer;  /* thread */
    uint16_t held;         /* threads that a constraint holds back at this object */
    uint16_t next_in_line; /* object.c: ordinal */
} SchedObject;

#define SCHED_OBJECTS_MAX  (3u << 13)
#define SCHED_OBJECT_SLOTS (1u << 15) /* of the index, at most; */
#define SCHED_OBJECT_LINES_LG \
    7u         /* at first as many lines, 8 KiB: an execution of the usual size has its index in the first cache */
#define SCHED_LINE_SLOTS 16u        /* for the words of a cache line */

/* An entry of the index: an object of this execution, or free. */
typedef struct SchedObjectEntry {
    uint16_t epoch;
    uint16_t id;
} SchedObjectEntry;

typedef struct SchedObjects {
    uint16_t epoch, used;
    uint32_t shift; /* 64 - log2 of the lines in use */
    SchedObject objects[SCHED_OBJECTS_MAX + 1] __attribute__((aligned(64))); /* by id */
    SchedObjectEntry entries[SCHED_OBJECT_SLOTS]; /* open addressing; nothing is removed from it within an execution */
} SchedObjects;

extern SchedObjects sched_objects_;

void sched_objects_reset(void);
SchedObject *sched_object_search(uintptr_t key);

/* The line decides where the search begins, the word where in it; the lowest bits, which are 0 but for small objects, count for a line. */
static inline uint32_t sched_object_slot(uintptr_t key)
{
    uint64_t word = key >> 2 | (uint64_t)key << 62;

    return (uint32_t)((word / SCHED_LINE_SLOTS * 0x9e3779b97f4a7c15u) >> sched_objects_.shift) * SCHED_LINE_SLOTS +
           (uint32_t)(word % SCHED_LINE_SLOTS);
}

/* Creates; NULL for none, stack addresses and when the table is full. */
static inline SchedObject *sched_object_find(uintptr_t key)
{
    SchedObjectEntry entry = sched_objects_.entries[sched_object_slot(key)];
    SchedObject *object = &sched_objects_.objects[entry.id];

    return LIKELY(object->key == key && entry.epoch == sched_objects_.epoch) ? object : sched_object_search(key);
}

/* ---- threads */

typedef enum ThreadState { THREAD_READY, THREAD_BLOCKED, THREAD_ENDED } ThreadState;

/* The next thing that a thread will do. */
typedef struct SchedEvent {
    uintptr_t key; /* of the object, 0: none */
    SchedObject *object; /* NULL: none, or not tracked */
    uint16_t site; /* low 16 bits of the site's id; 0: unknown */
    bool writes, reads;
} SchedEvent;

struct SchedThread {
    /* switching */
    SchedContext context;
    uint16_t id;
    uint8_t state; /* ThreadState */
    bool held; /* enabled, but held back by a constraint */
    bool preferred; /* its next event serves a constraint */
    uint8_t step_flags; /* of the next step */
    uint8_t steps_unwalked; /* since its stack was last looked at for recursion */
    uint16_t passthrough; /* nesting */
    uint16_t looks; /* nesting */
    uint32_t strand; /* coroutine that runs */
    char *stack_low, *stack_high; /* of what runs now: the own stack or a coroutine's */
    /* deciding */
    SchedEvent event;
    uint32_t decisions; /* so far */
    const SchedOverride *override, *override_end; /* the next one, in order of decisions */
    SchedThread *ready_next, *ready_previous; /* FIFO of the enabled that do not run */
    uint32_t set_index; /* policy.h: place in a PolicySet, a heap */
    uint64_t key; /* policy.h: priority */
    SchedObject *pending_object; /* POS: in whose list it is */
    SchedThread *pending_next, *pending_previous;
    uint32_t held_index, preferred_index;
    /* blocking */
    const SchedBlock *block;
    SchedWake wake;
    SchedTimer timer;
    void *wait_frame; /* of sched_block(), while blocked */
    /* life */
    void *(*function)(void *);
    void *argument, *value;
    bool reaped, used, started, daemon;
    bool lives_on; /* sched_thread_lives_on() */
    SchedQueue joiners;
    void *slot;
    char name[SCHED_NAME_BYTES];
    void (*interrupt)(void *);
    void *interrupt_argument;
    void *fault_frame, *fault_pc; /* where a signal has ended the execution; NULL otherwise */
    uint32_t points; /* so far */
    /* the real thread, for ever */
    pthread_t pthread;
    char *own_low, *own_high;
    int parked, released;
    SchedContext initial; /* as it was parked first, */
    SchedFrame initial_frame; /* to start again after an execution was abandoned */
    bool abandoned, retired;
};

/* ---- fibers (fiber.c) */

/* These objects are linked into executables only. */
extern __thread SchedThread *sched_self_ __attribute__((visibility("hidden"), tls_model("local-exec")));

/* The fiber with this id, made if need be. Kernel thread only. NULL with errno. */
SchedThread *sched_fiber_get(unsigned id);
SchedThread *sched_fiber_by_pthread(uintptr_t handle); /* NULL: none of ours */
void sched_fiber_abandon(SchedThread *thread); /* it never goes on; its next start is a fresh one */
/* What each fiber runs: engine.c. */
void sched_fiber_main(SchedThread *self);

/* ---- stacks (stack.c) and thread-local variables (tls.c) */

int sched_stacks_init(void);
#define SCHED_GUARD_BYTES 4096u /* below each stack */
extern uintptr_t sched_stacks_low, sched_stacks_high;

void sched_tls_init(void);
void sched_tls_reset(void); /* __thread variables of the program get their initial values; the runtimes' are left alone */

/* ---- clock (clock.c): the only place where virtual time moves */

void sched_clock_reset(void);
extern uint32_t sched_clock_count; /* armed timers */
static inline bool sched_clock_armed(void)
{
    return sched_clock_count != 0;
}
uint64_t sched_clock_next_ns(void);
bool sched_clock_advance(uint64_t to_ns); /* runs what is due, in order; false: beyond the bound */
extern uint64_t sched_clock_now;

/* ---- sites (site.c) */

void sched_sites_init(void);
void *sched_sites_memory(size_t *bytes); /* the names of calls; whole pages */
uint16_t sched_call_site(SchedCall call, void *pc, void *frame); /* never 0; asks the namer the first time */
void sched_note_callers(SchedStep *step, void *frame); /* of a call, where sched_step_callers() is to know them */
const SchedSite *sched_site_by_name(uint16_t site); /* NULL when it is a call's or unknown */

/* ---- engine (engine.c) */

typedef struct Engine {
    uint64_t executions; /* begun */
    bool running;
    bool learning;
    bool calls_named; /* sites of calls are needed */
    bool constrained; /* the plan's constraints are in force */
    bool plain; /* first in, first out, and nothing in the plan that could make a running thread give way but overrides */
    bool ended; /* the outcome is known */
    uint32_t run_length; /* steps of the current thread since the last switch */
    uint32_t ready_count; /* enabled, not running, not held */
    uint32_t thread_count;
    uint32_t live_count; /* threads of the program that have not ended */
    uint32_t daemon_count; /* daemons that have not ended */
    bool daemons_must_end;
    uint32_t wakeup_count;
    SchedThread *ready_first, *ready_last;
    SchedThread *probe; /* the only thread that may run, during the experiment */
    SchedThread *idle; /* the last thread to block or end, when nobody can run */
    const SchedOverride *overrides, *replaced_overrides; /* those in force; those of sched_replace_overrides() */
    uint32_t override_count, replaced_override_count;
    uint64_t stop_step; /* the next step at which something has to be done: the step bound, one that is watched, or any */
    uint32_t clock_moves; /* of the plan's, though somebody could run */
    uint64_t open_store; /* the step whose store is not done yet, plus 1; 0: none. By the next step it is */
    const size_t *watched_steps, *all_watched_steps;
    size_t watch_count, all_watch_count;
    void (*watch)(size_t step, SchedThread *thread);
    SchedLimits limits;
    SchedContext root;
    SchedRandom random;
    SchedResult result;
    SchedPlan plan;
    void *(*service)(void *); /* the kernel thread runs it for a fiber */
    void *service_argument, *service_result;
    SchedThread *service_caller;
} Engine;

extern Engine sched_engine_;

/* sched_here(), inlined. */
static inline bool engine_here(void)
{
    const SchedThread *self = sched_self_;

    return self && sched_engine_.running && !self->passthrough;
}

extern SchedThread *sched_fibers_[SCHED_THREADS_MAX];

/* The fiber of this id, in this execution or not; NULL: not made yet. */
static inline SchedThread *sched_thread_slot_id(unsigned id)
{
    return id < SCHED_THREADS_MAX ? sched_fibers_[id] : NULL;
}

void *sched_on_kernel_thread(void *(*function)(void *), void *argument); /* from a fiber, or from there */

/* ---- trace (trace.c) */

#define TRACE_STEPS_MAX (1u << 20)

typedef struct Trace {
    SchedStep *steps;
    size_t count;
    uint64_t hash;
} Trace;

extern Trace sched_trace_;

int sched_trace_init(void);
void *sched_trace_memory(size_t *bytes);

/* ---- learning (learn.c) */

void sched_learn_access(SchedObject *object, uint16_t site, bool reads, bool writes);
void sched_learn_wake(const SchedThread *waker, const SchedThread *waiter);
void sched_learn_note(void); /* the execution has ended, or cannot: keep its measures */
void *sched_learn_memory(size_t *bytes); /* whole pages */

#endif
