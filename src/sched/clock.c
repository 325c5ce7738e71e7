/*
 * The virtual clock and its timers. sched_clock_advance() is the only function that moves time.
 *
 * 1. Timers that are due at one moment expire in the order in which they were armed.
 * 2. Time never goes back, and never passes an armed deadline without running its timer.
 */
#include "sched/internal.h"

#define TIMERS_MAX   4096u
#define LOOK_STEP_NS 100u /* each look at the clock moves it, so that a loop that waits for time to pass ends */

typedef struct Entry {
    uint64_t deadline_ns, order;
    SchedTimer *timer;
} Entry;

uint64_t sched_clock_now;
static Entry heap[TIMERS_MAX + 1]; /* binary heap, from 1; heap_index 0: not armed */
uint32_t sched_clock_count;
#define count sched_clock_count
static uint64_t armed_total;

static bool earlier(const Entry *a, const Entry *b)
{
    return a->deadline_ns != b->deadline_ns ? a->deadline_ns < b->deadline_ns : a->order < b->order;
}

static void place(uint32_t index, Entry entry)
{
    heap[index] = entry;
    entry.timer->heap_index = index;
}

static void sift_up(uint32_t index, Entry entry)
{
    for (; index > 1 && earlier(&entry, &heap[index / 2]); index /= 2) {
        place(index, heap[index / 2]);
    }
    place(index, entry);
}

static void sift_down(uint32_t index, Entry entry)
{
    for (uint32_t child; (child = 2 * index) <= count; index = child) {
        if (child < count && earlier(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!earlier(&heap[child], &entry)) {
            break;
        }
        place(index, heap[child]);
    }
    place(index, entry);
}

void sched_timer_disarm(SchedTimer *timer)
{
    uint32_t index = timer->heap_index;
    Entry last;

    timer->deadline_ns = SCHED_FOREVER;
    if (!index) {
        return;
    }
    timer->heap_index = 0;
    last = heap[count--];
    if (last.timer == timer) {
        return;
    }
    if (index > 1 && earlier(&last, &heap[index / 2])) {
        sift_up(index, last);
    } else {
        sift_down(index, last);
    }
}

void sched_timer_arm(SchedTimer *timer, uint64_t deadline_ns)
{
    sched_timer_disarm(timer);
    timer->deadline_ns = deadline_ns;
    if (deadline_ns == SCHED_FOREVER) {
        return;
    }
    if (count == TIMERS_MAX) {
        sched_fail("unmodelled", "more than %u timers armed at once", TIMERS_MAX);
    }
    sift_up(++count, (Entry){ deadline_ns, armed_total++, timer });
}

void sched_clock_reset(void)
{
    while (count) {
        heap[count].timer->heap_index = 0;
        heap[count--].timer->deadline_ns = SCHED_FOREVER;
    }
    sched_clock_now = 0;
    armed_total = 0;
}

uint64_t sched_clock_next_ns(void)
{
    return count ? heap[1].deadline_ns : SCHED_FOREVER;
}

bool sched_clock_advance(uint64_t to_ns)
{
    if (to_ns > sched_clock_now) {
        sched_clock_now = to_ns;
    }
    while (count && heap[1].deadline_ns <= sched_clock_now) {
        SchedTimer *timer = heap[1].timer;

        sched_timer_disarm(timer);
        timer->expired(timer);
    }
    return sched_clock_now <= sched_engine_.limits.time_ns;
}

uint64_t sched_now_ns(void)
{
    return sched_clock_now;
}

uint64_t sched_look_at_clock_ns(void)
{
    sched_clock_advance(sched_clock_now + LOOK_STEP_NS);
    return sched_clock_now;
}
