/*
 * Oracle: a wakeup that was given, and did not arrive: missed-wakeup, or late-wakeup where a timer made good for it.
 *
 * Runs on the fibers that sleep and wake, and on the kernel thread when nobody can run.
 *
 * 1. Nothing here is guessed: the wake is owed by the contract of the place, and the sleeper sleeps.
 * 2. Late is what a sleep through a long idle jump is, when somebody ends it; before that it may as well be for ever.
 * 3. Where the execution is stopped at a bound, a sleep through such a jump that nobody has ended counts as one for ever.
 * 4. A jump of the clock that the input decides on while others could run is nobody's fault, and does not count.
 */
#include "check/given.h"

#include "check/oracles.h"

enum { PLACES_MAX = 64 };

typedef struct Place {
    const void *place; /* NULL: unused */
    bool sleeping, owed, late;
    uint32_t sleeper, giver;        /* thread ids */
    size_t begin_step, given_step;  /* the next step of that thread is the first that belongs to it */
    uint64_t given_ns;
} Place;

static Place places[PLACES_MAX];
static unsigned place_count;
static const Place *found;
static size_t found_step; /* the trace had so many steps */

void check_given_reset(void)
{
    place_count = 0;
    found = NULL;
}

/* More places than that go unwatched. */
static Place *place_at(const void *address, bool make)
{
    for (unsigned i = 0; i < place_count; i++) {
        if (places[i].place == address) {
            return &places[i];
        }
    }
    if (!make || place_count == PLACES_MAX) {
        return NULL;
    }
    places[place_count] = (Place){ .place = address };
    return &places[place_count++];
}

static uint32_t this_thread(void)
{
    return sched_thread_id(sched_thread_self());
}

void check_place_init(const void *address)
{
    Place *place = place_at(address, false);

    if (place) {
        *place = (Place){ .place = address };
    }
}

void check_wake_given(const void *address)
{
    Place *place = place_at(address, true);

    if (!place || place->owed) {
        return; /* the first of several is the one to be late */
    }
    place->owed = true;
    place->giver = this_thread();
    place->given_step = check_trace().count;
    place->given_ns = sched_now_ns();
}

static void found_late(Place *place)
{
    found = place;
    found_step = check_trace().count;
    sched_fail(check_verdict_name(CHECK_LATE_WAKEUP), "a wakeup that was given was brought by a timer only");
}

void check_wake_delivered(const void *address)
{
    Place *place = place_at(address, false);

    if (!place) {
        return;
    }
    if (place->owed && place->late) {
        found_late(place);
    }
    place->owed = false;
}

void check_sleep_begins(const void *address)
{
    Place *place = place_at(address, true);

    if (place) {
        place->sleeping = true;
        place->sleeper = this_thread();
        place->begin_step = check_trace().count;
    }
}

void check_sleep_ended(const void *address)
{
    Place *place = place_at(address, false);

    if (!place) {
        return;
    }
    if (place->owed && place->late) {
        found_late(place);
    }
    place->sleeping = place->owed = place->late = false;
}

SchedThread *check_given_examine(bool quiescent)
{
    for (unsigned i = 0; i < place_count; i++) {
        Place *place = &places[i];

        if (!place->owed || !place->sleeping) {
            continue;
        }
        place->late = true;
        if (quiescent) {
            found = place;
            found_step = check_trace().count;
            return sched_thread_by_id(place->sleeper);
        }
    }
    return NULL;
}

/* ---- the cause ---- */

static size_t next_step_of(CheckTrace trace, uint32_t thread, size_t from, uint64_t object)
{
    for (size_t i = from; i < trace.count; i++) {
        const SchedStep *step = &trace.steps[i];

        if (step->thread == thread && step->operation != SCHED_CALL && step->operation != SCHED_FENCE &&
            (!object || check_step_object(step) == object)) {
            return i;
        }
    }
    return CHECK_NO_STEP;
}

/* The giver's first step is its look at the place; where it only looked before it wrote, the write is what counts. */
static size_t writing_step(CheckTrace trace, uint32_t thread, size_t look)
{
    uint64_t object = check_step_object(&trace.steps[look]);
    size_t next = trace.steps[look].operation == SCHED_LOAD ? next_step_of(trace, thread, look + 1, object) : look;

    return next != CHECK_NO_STEP && trace.steps[next].operation != SCHED_LOAD ? next : look;
}

static void find_cause(const Place *place, CheckCause *cause)
{
    CheckTrace trace = check_trace();
    size_t look = next_step_of(trace, place->giver, place->given_step, 0);

    *cause = (CheckCause){
        .waiter = place->sleeper,
        .waker = place->giver,
        .sleep_step = check_last_sleep(trace, place->sleeper, found_step),
        .look_step = CHECK_NO_STEP,
        .write_step = CHECK_NO_STEP,
        .probe_step = CHECK_NO_STEP,
        .check_step = CHECK_NO_STEP,
        .check_write_step = CHECK_NO_STEP,
        .wake_step = CHECK_NO_STEP,
        .take_step = CHECK_NO_STEP,
    };
    if (look != CHECK_NO_STEP) {
        cause->kind = CHECK_CAUSE_GIVEN;
        cause->object = check_step_object(&trace.steps[look]);
        cause->write_step = writing_step(trace, place->giver, look);
        cause->look_step = next_step_of(trace, place->sleeper, place->begin_step, cause->object);
    }
}

/* The one who has given the wake and is waiting for what should have come of it; else the sleeper's thread. */
static SchedThread *choose_culprit(const Place *place)
{
    SchedThread *giver = sched_thread_by_id(place->giver);

    return giver && sched_thread_block(giver) ? giver : sched_thread_by_id(place->sleeper);
}

/* The others went on, until the execution was stopped. */
static void find_forgotten(void)
{
    for (unsigned i = 0; i < place_count && !found; i++) {
        if (places[i].owed && places[i].sleeping && places[i].late) {
            found = &places[i];
            found_step = check_trace().count;
        }
    }
}

bool check_given(const SchedResult *result, CheckResult *verdict)
{
    bool stopped = result->outcome == SCHED_TIME_BOUND || result->outcome == SCHED_STEP_BOUND || result->outcome == SCHED_NO_STEP;

    if (stopped) {
        find_forgotten();
    }
    if (!found) {
        return false;
    }
    verdict->verdict = stopped || result->outcome == SCHED_QUIESCENT ? CHECK_MISSED_WAKEUP : CHECK_LATE_WAKEUP;
    verdict->culprit = choose_culprit(found);
    verdict->message[0] = '\0';
    if (verdict->verdict == CHECK_LATE_WAKEUP) {
        verdict->late_ns = result->time_ns - found->given_ns;
    }
    find_cause(found, &verdict->cause);
    return true;
}
