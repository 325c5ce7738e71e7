/*
 * A scheduler that only remembers: traces and threads are written by hand, probes follow a script. For tests of
 * check/ and report/ that stand on no execution at all; link check_fake_sched.c instead of src/sched.
 *
 * 1. fake_reset() first: everything is static.
 * 2. Steps are appended in order; each call returns the index of its step.
 */
#ifndef WAKEFUZZ_TESTS_UNIT_CHECK_FAKE_SCHED_H
#define WAKEFUZZ_TESTS_UNIT_CHECK_FAKE_SCHED_H

#include <glib.h>

#include "sched/sched.h"

void fake_reset(void);

/* A thread with the next id; blocked on *block where that is not NULL (copied). */
SchedThread *fake_thread(const char *name, const SchedBlock *block);
void fake_set_ended(SchedThread *thread);
void fake_set_block(SchedThread *thread, const SchedBlock *block); /* it sleeps there now */

/* A site for an access, kept until fake_reset(): "file.c", line, function, expression. */
SchedSite *fake_site(SchedOperation operation, const char *function, const char *expression, unsigned line);

size_t fake_load(unsigned thread, SchedSite *site, unsigned object_id, uint64_t value);
size_t fake_store(unsigned thread, SchedSite *site, unsigned object_id, uint64_t old_value, uint64_t new_value);
size_t fake_call(unsigned thread, SchedCall call, unsigned object_id, void *pc);
SchedStep *fake_step(size_t index);
void fake_sleep(size_t index);                 /* the thread went to sleep at this step */
void fake_by_hand(size_t first, size_t end);   /* these steps belong to the experiment */
size_t fake_count(void);

/* The next probe of the thread: what it returns, and the steps that it appends (called back; may be NULL). */
void fake_script_probe(SchedThread *thread, SchedProbe probe, void (*steps)(void));

/* What the code under test registered. */
extern SchedThread *(*fake_examiner)(void);
extern void (*fake_begin)(void);

#endif
