/*
 * The scheduler: runs a multi-threaded program on one kernel thread, under the control of an input.
 *
 * An *execution* is one call of sched_run(): the body runs as thread 0, the threads that it creates run as further fibers, and
 * exactly one of them runs at a time. A thread gives way only at a *scheduling point* (sched_point, sched_atomic, sched_block).
 * Which thread goes on is a *decision*, taken by the plan that was read from the back of the input.
 *
 * Threads: unless said otherwise a function may be called only on a fiber, inside an execution. sched_here() tells. Functions named
 * sched_run..., sched_init... are called on the kernel thread that owns the scheduler, outside an execution.
 */
#ifndef WAKEFUZZ_SCHED_SCHED_H
#define WAKEFUZZ_SCHED_SCHED_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/plan.h"
#include "sched/point.h"

#define SCHED_THREADS_MAX    1024u      /* threads of one execution */
#define SCHED_FOREVER        UINT64_MAX /* a deadline that never comes */
#define SCHED_NAME_BYTES     24u
#define SCHED_DEVIATIONS_MAX 8192u   /* that are written down of an execution */

/* The calls of the simulated OS, as kinds of steps. Their order is part of every trace hash: append only. */
/* clang-format off */
#define SCHED_CALLS(X)                                                                                            \
    X(START) X(EXIT) X(CREATE) X(JOIN) X(DETACH) X(ONCE)                                                          \
    X(MUTEX_LOCK) X(MUTEX_TRYLOCK) X(MUTEX_TIMEDLOCK) X(MUTEX_UNLOCK)                                             \
    X(RWLOCK_RDLOCK) X(RWLOCK_WRLOCK) X(RWLOCK_UNLOCK) X(SPIN_LOCK) X(SPIN_UNLOCK) X(BARRIER_WAIT)                \
    X(COND_WAIT) X(COND_TIMEDWAIT) X(COND_SIGNAL) X(COND_BROADCAST) X(SEM_WAIT) X(SEM_POST)                       \
    X(FUTEX_WAIT) X(FUTEX_WAKE) X(EVENTFD) X(PIPE) X(SOCKETPAIR) X(TIMERFD) X(EPOLL)                              \
    X(READ) X(WRITE) X(CLOSE) X(FCNTL) X(POLL) X(SELECT) X(EPOLL_WAIT) X(CLOCK) X(SLEEP) X(YIELD) X(OTHER)        \
    X(TIMEOUT) X(CLOCK_ADVANCE) X(SPURIOUS) X(IO_SUBMIT) X(IO_GETEVENTS) X(IO_COMPLETE)                          \
    X(OPEN) X(FILE) X(SOCKET) X(CONNECT) X(ACCEPT) X(MAP)
/* clang-format on */

typedef enum SchedCall {
    SCHED_CALL_NONE,
#define X(name) SCHED_CALL_##name,
    SCHED_CALLS(X)
#undef X
        SCHED_CALL_COUNT
} SchedCall;

/* "mutex_lock" for SCHED_CALL_MUTEX_LOCK. Any thread. */
const char *sched_call_name(SchedCall call);

/* Why sched_block() returned. */
typedef enum SchedWake {
    SCHED_WOKEN,    /* by sched_wake() */
    SCHED_TIMEOUT,  /* the deadline has come */
    SCHED_SPURIOUS, /* by the experiment at quiescence; only where spurious_ok */
} SchedWake;

#define SCHED_NO_STEP_S       10u /* seconds of processor time, at least; at most one more */
#define SCHED_NO_STEP_AGAIN_S 2u  /* the same, where the execution is known to end so: sched_expect_no_step() */

/* How an execution ended. check/ turns these into verdicts. */
typedef enum SchedOutcome {
    SCHED_DONE,             /* all threads have ended, or the body has returned and nothing is left to run */
    SCHED_QUIESCENT,        /* nobody can run, no timer is armed, somebody has not ended */
    SCHED_LATE,             /* only a timer beyond the bound could go on, though a sleeper would make progress if woken */
    SCHED_STEP_BOUND,       /* too many steps */
    SCHED_TIME_BOUND,       /* too much virtual time */
    SCHED_STACK_OVERFLOW,   /* recursion bound, or guard page hit */
    SCHED_FAILED,           /* sched_fail() */
    SCHED_NO_STEP,          /* the running thread took none in SCHED_NO_STEP_S: a loop without a point */
} SchedOutcome;

typedef struct SchedThread SchedThread;

/* What a blocked thread waits for, for reports; the SchedBlock lives on the stack of the blocked thread. */
typedef struct SchedBlock {
    SchedCall call;       /* POLL, FUTEX_WAIT, MUTEX_LOCK, ... */
    bool spurious_ok;     /* POSIX allows this wait to return for no reason (EINTR, spurious wakeup) */
    bool sleeping;        /* only time passes here (nanosleep): never a lost wakeup */
    const void *object;   /* what is waited for; may be NULL */
    uint64_t deadline_ns; /* virtual time, or SCHED_FOREVER */
} SchedBlock;

/* A list of waiting threads. Zero-initialized is empty. */
typedef struct SchedQueue {
    struct SchedWaiter *first, *last;
} SchedQueue;

/* One place in one SchedQueue; owned by the waiting thread (usually on its stack). */
typedef struct SchedWaiter {
    SchedThread *thread;
    SchedQueue *queue; /* NULL: in no queue */
    struct SchedWaiter *next, *previous;
    uint64_t data; /* the owner's (futex bitset, ...) */
} SchedWaiter;

/* A callback at a virtual time, for the simulated OS (timerfd). */
typedef struct SchedTimer {
    uint64_t deadline_ns; /* SCHED_FOREVER: not armed */
    void (*expired)(struct SchedTimer *);
    uint32_t heap_index; /* the scheduler's */
} SchedTimer;

/* ------------------------------------------------------------------------------------------- executions */

typedef struct SchedLimits {
    uint64_t steps;          /* step bound; 0: the default of 200,000 */
    uint64_t time_ns;        /* bound of virtual time; 0: 24 h */
    uint64_t late_ns;        /* an idle jump of at least this long is examined for late wakeups; 0: 200 ms */
    bool disturb;            /* sched_disturb() may say so; else what the plan has of it is ignored */
    uint32_t recursion;      /* a return address this often on one stack, at each 8th step, is an overflow; 0: 256 */
} SchedLimits;

/* What a decision was about. */
typedef enum SchedPlaceKind {
    SCHED_PLACE_PREEMPTION,  /* another thread went on than the one that was at a point */
    SCHED_PLACE_NEXT,        /* the thread went to sleep, or ended: another one went on than had waited longest */
    SCHED_PLACE_CLOCK,       /* the clock moved though somebody could run */
    SCHED_PLACE_CHOICE,      /* sched_choose(): which waiter is woken, which request completes */
    SCHED_PLACE_DISTURBANCE, /* sched_disturb() */
} SchedPlaceKind;

/* Where in the trace a decision was taken. */
typedef struct SchedPlace {
    uint32_t step; /* the next one to be recorded then */
    SchedPlaceKind kind;
} SchedPlace;

typedef struct SchedResult {
    SchedOutcome outcome;
    const char *reason;      /* of SCHED_FAILED: the verdict's name, static storage */
    const char *message;     /* of SCHED_FAILED: what sched_fail() said; valid until the next execution */
    uint64_t steps;          /* recorded steps */
    uint64_t decisions;      /* points with more than one choice */
    uint64_t switches;       /* context switches */
    uint64_t preemptions;    /* switches away from a thread that could have gone on, and had not run for too long */
    uint64_t trace_hash;
    uint64_t time_ns;        /* virtual time that passed */
    uint32_t threads;        /* created, thread 0 included */
    uint32_t threads_left;   /* not ended, or ended and neither joined nor detached */
    SchedThread *culprit;    /* thread that failed; the sleeper that would make progress; or NULL */
    const SchedOverride
        *deviations; /* the decisions that differ from FIFO: a plan of base FIFO with these (and the same disturb) */
    const SchedPlace *deviation_places; /* of each */
    uint32_t deviation_count;        /*  as overrides is the same execution; valid until the next execution */
    bool deviations_complete;        /* false: more than were kept */
} SchedResult;

/*
 * Prepare the scheduler: sites, pool of threads, signal stack. Call once, on the kernel thread that will call sched_run().
 * Returns 0, or a negative errno with a message on stderr (no threads to be had, no memory).
 */
int sched_init(void);

/* After sched_init(): have so many threads ready (at most SCHED_THREADS_MAX). More are made when an execution first needs them, and kept; a process
 * that is to do the same for each execution makes them at the start. Returns 0 or a negative errno. */
int sched_prepare_threads(unsigned count);

/* Run body(argument) as thread 0 under plan. Fibers of an earlier execution that failed are abandoned at this moment, not before,
 * so that reports can look at them. The result is valid until the next call. */
const SchedResult *sched_run(void (*body)(void *), void *argument, const SchedPlan *plan, const SchedLimits *limits);

/*
 * Until called with NULL: executions take these overrides instead of their plan's, however many there are. Sorted by (thread,
 * decision), not copied. For whoever shrinks an execution, whose deviations may be more than a plan can hold. Kernel thread, outside
 * an execution.
 */
void sched_replace_overrides(const SchedOverride *overrides, uint32_t count);

/* The result of an execution that cannot end, as far as it is known: a sanitizer or a signal is about to end the process. What learn.h says of the
 * last execution is of it then. Any thread. */
const SchedResult *sched_result_so_far(void);

/* End the execution as SCHED_FAILED with a verdict name (static storage) and a message. Does not return on a fiber. */
__attribute__((noreturn, format(printf, 2, 3))) void sched_fail(const char *verdict, const char *format, ...);

/* Functions called at the start of each execution (on the kernel thread, before the body) to put state of other layers back.
 * At most 16; any thread before the first execution. */
void sched_on_begin(void (*function)(void));

/* Is the caller a fiber inside an execution, and not inside the scheduler's own callbacks? Any thread, a few instructions. */
bool sched_here(void);

/* Between these two, calls by this fiber pass through the simulated OS untouched (they nest). */
void sched_passthrough_begin(void);
void sched_passthrough_end(void);

/*
 * Between these two, what this fiber does is to look whether there is something to do, perhaps less often each time: its steps in an
 * experiment are marked with SCHED_STEP_LOOK, and are no work for check/examine.h. What is found must be done after them, in steps of its
 * own. In pairs, on one fiber, without a switch of stacks in between (the execution fails as "assertion" else); they nest, and
 * change nothing in the execution. Outside a fiber they do nothing.
 */
void sched_look_begin(void);
void sched_look_end(void);

/* ------------------------------------------------------------------------------------------- points and blocking */

/*
 * The caller is about to do `call` on object (an address, or a small number that names a simulated object and is never reused
 * within an execution; 0 for none). Another thread may run before this returns. site is the code address of the caller of libc
 * (__builtin_return_address(0) in the libc symbol). frame is its __builtin_frame_address(0).
 */
void sched_point(SchedCall call, uintptr_t object, void *site, void *frame);
#define SCHED_POINT(call, object) \
    sched_point((call), (uintptr_t)(object), __builtin_return_address(0), __builtin_frame_address(0))

/* Add a value to the last step of the calling thread (a result, a count), for the trace; it does not enter the hash. */
void sched_step_value(uint64_t value);

/* A point that prefers that somebody else runs (sched_yield). */
void sched_yield_point(void *site, void *frame);

/* Give way until woken or until the deadline. The caller has put itself into the queues it wants to be woken from, and takes itself
 * out again afterwards. Waking is remembered: a sched_wake() between queue entry and here cannot happen, as nobody else runs. */
SchedWake sched_block(const SchedBlock *block);

/* Let a blocked thread go on; nothing where it is not blocked. No scheduling point. */
void sched_wake(SchedThread *thread);

/* One of n > 0 choices, 0 being the first-in-first-out one (which waiter is woken). Not a point, but a decision. */
unsigned sched_choose(unsigned n);

/*
 * Shall this call of the simulated OS go wrong in one of n - 1 > 0 ways that the real one knows (EINTR, a short read)?
 * 0: no; else which. A decision, but only where the program copes (SchedLimits.disturb) and the plan asks for it:
 * otherwise always 0, and nothing is drawn or counted.
 */
unsigned sched_disturb(unsigned n);

void sched_queue_add(SchedQueue *queue, SchedWaiter *waiter); /* at the end; waiter->thread is the caller */
void sched_queue_remove(SchedWaiter *waiter); /* no-op when in no queue */
SchedThread *sched_queue_wake_first(SchedQueue *queue); /* removes it; NULL when empty */
unsigned sched_queue_wake_all(SchedQueue *queue); /* removes them; how many */
SchedThread *sched_queue_wake_chosen(SchedQueue *queue); /* which one is a decision; removes it; NULL when empty */
unsigned sched_queue_length(const SchedQueue *queue);

/* ------------------------------------------------------------------------------------------- virtual time */

/* Nanoseconds of virtual time since the start of the execution (0). Does not move the clock. */
uint64_t sched_now_ns(void);
/* A look at the clock by the program: moves it by a small fixed step, then returns it. */
uint64_t sched_look_at_clock_ns(void);
void sched_timer_arm(SchedTimer *timer, uint64_t deadline_ns); /* re-arms; SCHED_FOREVER disarms */
void sched_timer_disarm(SchedTimer *timer);

/* ------------------------------------------------------------------------------------------- threads */

/* Create a thread; it is enabled at once. The caller's stack size wish is ignored: every stack has 8 MiB. Never NULL on return: a
 * machine that has no more threads ends the execution as unmodelled. No point: the caller has one before. */
SchedThread *sched_thread_create(void *(*function)(void *), void *argument);
/*
 * The same for a part of the simulated kernel that runs beside the program: an actor like any other thread to policies, constraints
 * and overrides, but no thread of the program. It keeps no execution alive, is no leak, and is never examined as a sleeper.
 * When all threads of the program have ended it is woken, sched_daemon_must_end() is true from then on, and it returns.
 */
SchedThread *sched_daemon_create(void *(*function)(void *), void *argument, const char *name);
bool sched_daemon_must_end(void);
bool sched_thread_is_daemon(const SchedThread *thread); /* any time after an execution too */
/* End the calling fiber with this value (pthread_exit after cleanup handlers and key destructors have run). Does not return. */
__attribute__((noreturn)) void sched_thread_exit(void *value);
/* Called on each fiber when its function has returned or sched_thread_exit() was called, before it counts as ended. The OS layer runs
 * key destructors there; points are allowed. */
void sched_on_thread_end(void (*function)(SchedThread *));
/* Called on each fiber that has not ended when its execution failed, under TSan alone, so that what TSan believes of it (the locks it holds)
 * can be taken back; no points. */
void sched_on_abandon(void (*function)(void));
SchedThread *sched_thread_self(void); /* NULL when the caller is no fiber */
SchedThread *sched_thread_by_id(uint32_t id); /* NULL when there is none; any time after an execution too */
SchedThread *sched_thread_by_handle(uintptr_t handle); /* by its pthread_t; NULL when it is none of this execution */
uintptr_t sched_thread_handle(const SchedThread *thread); /* its pthread_t: the real one, so that pthread_self() agrees */
uint32_t sched_thread_count(void);
uint32_t sched_thread_id(const SchedThread *thread);
bool sched_thread_ended(const SchedThread *thread);
void *sched_thread_value(const SchedThread *thread); /* what it returned */
void sched_thread_reap(SchedThread *thread); /* joined, or detached: no leak any more */
void sched_thread_lives_on(
    SchedThread *thread); /* a program's thread without an end: asleep when the body has ended, it is no leak */
SchedQueue *sched_thread_joiners(SchedThread *thread); /* woken when it ends */
void sched_thread_set_name(SchedThread *thread, const char *name);
const char *sched_thread_name(const SchedThread *thread);
void **sched_thread_slot(SchedThread *thread); /* one pointer for the OS layer; NULL at thread start */
const SchedBlock *sched_thread_block(const SchedThread *thread); /* what it is blocked on; NULL: nothing, or a daemon */
void sched_thread_stack(const SchedThread *thread, void **low, void **high);
/* Saved frame pointer and code address of a thread that is not running. */
void sched_thread_frame(const SchedThread *thread, void **frame, void **pc);
/* Run function(argument) on a thread that does not run now, on its own stack and thread pointer, and come back; for
 * the report, when each sleeper prints its own stack. Only after an execution has failed, on the kernel thread. */
void sched_thread_interrupt(SchedThread *thread, void (*function)(void *), void *argument);

/* ------------------------------------------------------------------------------------------- stacks */

/* Stack memory with a guard page below; lies in the region of stacks, whose objects never get an identity (addresses of automatic
 * variables differ between flavours). Returns the low end. Any thread. NULL with errno when there is no memory. */
void *sched_stack_alloc(size_t bytes);
bool sched_is_stack(uintptr_t address);

/* All stacks that were allocated since a mark are gone, and their addresses free again: for whoever puts the rest of the memory back, too.
 * Between executions. */
void *sched_stacks_mark(void);
void sched_stacks_cut(void *mark);
/* The running thread now runs on another stack (a coroutine's), or with NULL on its own again; name is for the trace. */
void sched_stack_switched(void *low, void *high, uint32_t strand);

/* ------------------------------------------------------------------------------------------- trace */

typedef struct SchedStep {
    union {
        const SchedSite *site; /* operation != SCHED_CALL */
        void *pc; /* SCHED_CALL: return address */
    };
    uintptr_t object;
    uint64_t old_value, new_value; /* of the object before and after; or the call's sched_step_value() in new_value, or callers */
    uint32_t object_id; /* ordinal of first use in the execution; 0: none */
    uint32_t strand; /* coroutine that ran, 0: the thread itself */
    uint16_t thread;
    uint8_t operation; /* SchedOperation */
    uint8_t call; /* SchedCall */
    uint8_t flags; /* SCHED_STEP_... */
    uint64_t time_ns;
} SchedStep;

#define SCHED_STEP_BLOCKED   1u /* the thread went to sleep here */
#define SCHED_STEP_WOKE      2u /* the thread was let go on by the step before */
#define SCHED_STEP_PREEMPTED 4u /* the thread lost the processor before this step though it could go on */
#define SCHED_STEP_PROBE     8u /* made during the experiment at quiescence */
#define SCHED_STEP_LOOK      16u /* of those, made between sched_look_begin() and sched_look_end() */

/* The steps of the last execution, those of the experiment included. */
const SchedStep *sched_trace(size_t *count);

/*
 * Who called the function that made this call: return addresses outwards from it, of calls that let others go on and mostly stand in a wrapper
 * that says nothing (MUTEX_UNLOCK, COND_SIGNAL, COND_BROADCAST); of others none. Returns how many, at most SCHED_CALLERS_MAX. Any thread.
 */
#define SCHED_CALLERS_MAX 4u
unsigned sched_step_callers(const SchedStep *step, uintptr_t pcs[SCHED_CALLERS_MAX]);

/* A blocked thread was let go on: after step - 1, by the thread that had made it, or by the clock where that was a CLOCK_ADVANCE. */
typedef struct SchedWakeup {
    uint32_t step;
    uint16_t thread;
} SchedWakeup;

/* The wakeups of the last execution in order, the first SCHED_WAKEUPS_MAX of them. */
#define SCHED_WAKEUPS_MAX 65536u
const SchedWakeup *sched_wakeups(size_t *count);

/*
 * From now on each execution calls function when it is about to record one of these steps (sorted, none twice; not copied), the thread's own
 * stack below it, before the step happens; calls of the simulated OS pass through meanwhile. thread is NULL for a step of the environment.
 * It changes nothing in the execution. steps NULL, count 0: no more. Kernel thread, outside an execution.
 */
void sched_watch(const size_t *steps, size_t count, void (*function)(size_t step, SchedThread *thread));

/* ------------------------------------------------------------------------------------------- the experiment (check/ decides) */

/* Resume one blocked thread as if its wait had returned spuriously, and let it alone run until it blocks or ends. Kernel thread
 * only, when the execution is quiescent. Its steps are appended to the trace with SCHED_STEP_PROBE. */
typedef struct SchedProbe {
    size_t first_step, end_step; /* in the trace */
    bool same_wait; /* it sleeps again in the same call, on the same object, with the same frames, and for ever or
                                  not as before (a sleep that has become a limited one is progress: it had missed a timer) */
    bool others_enabled; /* another thread can run now */
    bool ended; /* the thread has ended */
    bool bounded; /* it did not block within the step bound */
} SchedProbe;
bool sched_probe(SchedThread *thread, SchedProbe *probe);

/* check/ is asked at quiescence and before a long idle jump; it returns the thread that would make progress, or NULL. */
void sched_set_examiner(SchedThread *(*examine)(void));

/* Stable names for the code addresses of calls: pcs[0] is the call's return address, then its callers. Runs on the kernel thread's
 * stack. Without one, calls of a kind share a name. */
void sched_set_namer(uint32_t (*namer)(void *const *pcs, unsigned n));

/* Names for sites that are only known at run time, as those have that the compiler knows: sites of one name get ordinals among these. Kernel thread,
 * after sched_init(); by then they are complete but for their ids, and they stay for ever. */
void sched_name_sites(SchedSite *sites, size_t count);

/* A block of memory is freed: forget the identities of the objects in it. Any thread. */
void sched_forget(const void *memory, size_t bytes);

/* Install the handler that tells a guard page from other faults; the handlers found are called for all others. Call when the
 * fuzzing engine has installed its own. Also starts the clock that ends an execution with SCHED_NO_STEP, by SIGVTALRM; a child of the
 * process starts its own, and a process that is to execute another program stops it. */
void sched_install_fault_handler(void);
/* Called, in the signal's handler, before a fault goes to the handlers that were found, and before an execution ends in the middle of code that is not
 * the executable's; NULL: nothing is. Must be async-signal-safe. */
void sched_before_others(void (*function)(void));
void sched_start_clock(void);
void sched_stop_clock(void);
/* The two stacks, ss_size 0: not there, that signals are taken on: the kernel writes there, whatever is protected. Any thread, after the handler was installed. */
const stack_t *sched_signal_stacks(void);
/* Is the next execution the repetition of one that ended with SCHED_NO_STEP? Then it ends sooner, at the same step. Between executions. */
void sched_expect_no_step(bool expected);

/* What executions record and learn is from now on shared with children of this process: an execution in a child leaves its trace and what
 * the mutator learns from it with the parent, once the child has called sched_share_publish() and the parent sched_share_collect(). Between
 * executions, kernel thread. Returns 0 or a negative errno. */
int sched_share_with_children(void);
void sched_share_publish(void);
void sched_share_collect(void);
/* In the parent, before a child's execution: where the child ends without sched_share_publish(), its trace is empty. */
void sched_share_clear(void);

/* While true, executions feed what the mutator learns from (learn.h); never changes what an execution does. */
void sched_set_learning(bool on);
bool sched_learning(void);
#endif
