/*
 * The inside of a coroutine, for the files of the core that queue coroutines: event loop, CoQueue, CoMutex.
 *
 * Invariants
 * 1. caller is not NULL exactly while the coroutine is entered. Written only by the thread that enters it or on which
 *    it yields.
 * 2. scheduled is not NULL exactly while somebody has promised to enter it later. Claimed by a compare-and-exchange
 *    from NULL by any thread, given back by whoever keeps the promise, before the entry.
 * 3. ctx is written by each entry, before the coroutine runs; any thread reads it.
 * 4. A coroutine is in at most one list at a time by co_queue_next.
 */
#ifndef WAKEFUZZ_CORE_COROUTINE_INT_H
#define WAKEFUZZ_CORE_COROUTINE_INT_H

#include "core/coroutine.h"
#include "core/queue.h"

typedef STAILQ_HEAD(CoroutineList, Coroutine) CoroutineList;

struct CoroutineFiber;

struct Coroutine {
    CoroutineEntry *entry;
    void *entry_arg;
    Coroutine *caller;
    size_t locks_held; /* CoMutexes; the coroutine's own */
    bool entered;      /* at least once; for reports */
    bool ended;        /* entry has returned: the enterer deletes it */

    AioContext *ctx;       /* atomic */
    const char *scheduled; /* atomic: the function that claimed the next entry */

    STAILQ_ENTRY(Coroutine) co_queue_next;    /* in a CoQueue, in another's co_queue_wakeup, or in the entering loop */
    CoroutineList co_queue_wakeup;            /* to be entered when this one yields or ends */
    SLIST_ENTRY(Coroutine) co_scheduled_next; /* in AioContext::scheduled_coroutines */

    struct CoroutineFiber *fiber; /* its stack */
    const char *name;
    uint32_t id;
    LIST_ENTRY(Coroutine) live; /* all coroutines, for reports and the leak check */
};

#endif
