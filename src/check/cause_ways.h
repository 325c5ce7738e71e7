/* The ways that a waiter takes through the program, before it sleeps and when it is resumed by hand. See cause.h. */
#ifndef WAKEFUZZ_CHECK_CAUSE_WAYS_H
#define WAKEFUZZ_CHECK_CAUSE_WAYS_H

#include "check/trace.h"

/* All are pure; any thread while no execution runs. The old way is in the execution proper, the new one in the probe; where they are
 * compared, places count and values do not. */

/* The next step of that thread in (after, end), or CHECK_NO_STEP. */
size_t check_ways_next(CheckTrace trace, uint32_t thread, size_t after, size_t end);

/* Follow the waiter on from its steps old and new, until it does different things for good: where on the new way; where it never does so for
 * good, where it did for a moment. CHECK_NO_STEP: it goes the same way on either. *rejoined is where on the new way the first detour ends, or
 * CHECK_NO_STEP; may be NULL. */
size_t check_ways_parting(CheckTrace trace, uint32_t waiter, const SchedProbe *probe, size_t old, size_t new, size_t *rejoined);

/* Where in [first, end) the waiter did last, and to the same object, what it does again at probe_step of the probe, with as much the same
 * before it as there is: all locks are taken at one place, that of a wrapper. CHECK_NO_STEP: nowhere. */
size_t check_ways_before(CheckTrace trace, uint32_t waiter, size_t first, size_t end, size_t probe_step);

/* Where the resumed waiter first takes a turn that it had never taken before: from there on it is out of its loop. */
size_t check_ways_known_end(CheckTrace trace, uint32_t waiter, const SchedProbe *probe);

#endif
