/*
 * RCU: grace periods. rcu.h tells the protocol; rcu_call.c has the thread that frees.
 *
 * Threads: readers, in any thread; one at a time waits for a grace period, under rcu_sync_lock.
 */
#include "core/rcu.h"

#include <glib.h>

#include "core/event.h"
#include "core/fatal.h"
#include "core/lockable.h"
#include "core/queue.h"
#include "core/rcu_int.h"

/* Bit 0 is always set: a reader's ctr of 0 means that it is in no section. */
#define RCU_GP_LOCKED 1ul
#define RCU_GP_CTR    2ul

#define RCU_POLLS_MAX 5     /* so often a grace period is looked at before it is forced, */
#define RCU_POLL_US   10000 /* with so long a sleep between */

typedef struct RcuReader {
    unsigned long ctr; /* see invariant 1; atomic */
    bool waiting;      /* whoever waits for the grace period wants rcu_gp_event; atomic */
    unsigned depth;    /* of the reader alone */
    bool registered;   /* of the reader alone */
    LIST_ENTRY(RcuReader) node; /* under rcu_registry_lock */
} RcuReader;

typedef LIST_HEAD(RcuReaders, RcuReader) RcuReaders;

/* Written under rcu_sync_lock, read by readers. Atomic. */
static unsigned long rcu_gp_ctr;
static QemuEvent rcu_gp_event;
static QemuMutex rcu_registry_lock;
static QemuMutex rcu_sync_lock;
static RcuReaders registry;
static bool running; /* changes while there is one thread only */

static __thread RcuReader my_reader;

/* A coroutine may change threads between two calls. */
static __attribute__((noinline)) RcuReader *reader_here(void)
{
    RcuReader *reader = &my_reader;

    __asm__ volatile("" : "+r"(reader));
    return reader;
}

/* ------------------------------------------------------------------------------------------- readers */

void rcu_register_thread(void)
{
    RcuReader *reader = reader_here();

    if (!running) {
        return;
    }
    core_assert(!reader->registered && reader->ctr == 0);
    reader->registered = true;
    QEMU_LOCK_GUARD(&rcu_registry_lock);
    LIST_INSERT_HEAD(&registry, reader, node);
}

void rcu_unregister_thread(void)
{
    RcuReader *reader = reader_here();

    if (!running) {
        return;
    }
    core_assert(reader->registered && reader->depth == 0);
    reader->registered = false;
    QEMU_LOCK_GUARD(&rcu_registry_lock);
    LIST_REMOVE(reader, node);
}

void rcu_read_lock(void)
{
    RcuReader *reader = reader_here();

    if (!running) {
        return;
    }
    core_assert(reader->registered);
    if (reader->depth++ > 0) {
        return;
    }
    qatomic_set(&reader->ctr, qatomic_read(&rcu_gp_ctr));

    /* ORDER: ctr before the pointers that the section reads
     * PAIRS: synchronize_rcu(), wait_for_readers()
     * ELSE:  the grace period does not see the section, which reads the old pointer */
    smp_mb();
}

void rcu_read_unlock(void)
{
    RcuReader *reader = reader_here();

    if (!running) {
        return;
    }
    core_assert(reader->depth > 0);
    if (--reader->depth > 0) {
        return;
    }
    /* ORDER: what the section read before ctr
     * PAIRS: wait_for_readers()
     * ELSE:  the section still reads what is being freed */
    qatomic_store_release(&reader->ctr, 0);

    /* ORDER: ctr before reading waiting
     * PAIRS: wait_for_readers()
     * ELSE:  the grace period sees the section under way and sleeps, and nobody wakes it */
    smp_mb();
    if (qatomic_read(&reader->waiting)) {
        qatomic_set(&reader->waiting, false);
        qemu_event_set(&rcu_gp_event);
    }
}

/* ------------------------------------------------------------------------------------------- grace periods */

static bool gp_ongoing(RcuReader *reader)
{
    /* ORDER: ctr before the object is freed
     * PAIRS: rcu_read_unlock()
     * ELSE:  it is freed while the section still reads it */
    unsigned long ctr = qatomic_load_acquire(&reader->ctr);

    return ctr && ctr != rcu_gp_ctr;
}

/* From now on each reader that leaves a section says so. Under rcu_registry_lock. */
static void ask_readers(void)
{
    RcuReader *reader;

    LIST_FOREACH(reader, &registry, node) {
        qatomic_set(&reader->waiting, true);
    }
}

/* Put those away that are not in an old section. Under rcu_registry_lock. */
static void take_quiescent(RcuReaders *done)
{
    RcuReader *reader, *next;

    LIST_FOREACH_SAFE(reader, &registry, node, next) {
        if (!gp_ongoing(reader)) {
            LIST_REMOVE(reader, node);
            LIST_INSERT_HEAD(done, reader, node);

            /* One who reads the old value sets the event once too often: harmless. */
            qatomic_set(&reader->waiting, false);
        }
    }
}

/* Under rcu_sync_lock and rcu_registry_lock, and drops the latter while it sleeps: threads come and go meanwhile. One that comes
 * has no old section; one that goes takes itself out of whichever list it is in. */
static void wait_for_readers(void)
{
    RcuReaders done = LIST_HEAD_INITIALIZER(done);
    RcuReader *reader;
    bool forced = false;

    for (int polls = 0;; polls++) {
        if (!forced && (polls >= RCU_POLLS_MAX || rcu_call_is_urgent())) {
            forced = true;
            ask_readers();
        }

        /* ORDER: waiting before ctr
         * PAIRS: rcu_read_unlock()
         * ELSE:  the section is seen under way, and its end did not see that somebody waits */
        smp_mb();
        take_quiescent(&done);
        if (LIST_EMPTY(&registry)) {
            break;
        }
        qemu_mutex_unlock(&rcu_registry_lock);
        if (forced) {
            qemu_event_wait(&rcu_gp_event);
            qemu_event_reset(&rcu_gp_event); /* before the readers are looked at again */
        } else {
            g_usleep(RCU_POLL_US);
        }
        qemu_mutex_lock(&rcu_registry_lock);
    }
    while ((reader = LIST_FIRST(&done))) {
        LIST_REMOVE(reader, node);
        LIST_INSERT_HEAD(&registry, reader, node);
    }
}

void synchronize_rcu(void)
{
    core_assert(running && reader_here()->depth == 0);
    QEMU_LOCK_GUARD(&rcu_sync_lock);

    /* ORDER: the new pointers before rcu_gp_ctr, and before the readers' ctr
     * PAIRS: rcu_read_lock()
     * ELSE:  a section that began with the new number reads the old pointer */
    smp_mb();

    QEMU_LOCK_GUARD(&rcu_registry_lock);
    if (!LIST_EMPTY(&registry)) {
        qatomic_set(&rcu_gp_ctr, rcu_gp_ctr + RCU_GP_CTR); /* 64 bits: it never comes round */
        wait_for_readers();
    }
}

/* ------------------------------------------------------------------------------------------- life */

void rcu_init(void)
{
    core_assert(!running);
    qemu_mutex_init(&rcu_registry_lock);
    qemu_mutex_init(&rcu_sync_lock);
    qemu_event_init(&rcu_gp_event, true);
    LIST_INIT(&registry);
    rcu_gp_ctr = RCU_GP_LOCKED;
    running = true;
    rcu_call_start();
    rcu_register_thread();
}

void rcu_cleanup(void)
{
    if (!running) {
        return;
    }
    rcu_call_stop();
    rcu_unregister_thread();
    core_assert(LIST_EMPTY(&registry));
    running = false;
    qemu_event_destroy(&rcu_gp_event);
    qemu_mutex_destroy(&rcu_sync_lock);
    qemu_mutex_destroy(&rcu_registry_lock);
}

void rcu_thread_reset(void)
{
    *reader_here() = (RcuReader){ 0 };
}

void rcu_reset(void)
{
    if (running) {
        core_fatal("leak", "RCU was not cleaned up");
    }
}
