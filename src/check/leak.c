/*
 * Oracles: leak and lost-completion. An execution has ended, and something that it made is still there.
 *
 * Registration happens before the first execution, on any one thread; the counting on the kernel thread.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check/oracles.h"

enum { KINDS_MAX = 16, LIST_BYTES = 160, NAMES_MAX = 6 };

typedef struct Kind {
    const char *what;
    uint64_t (*count)(void);
    void (*describe)(char *text, size_t size);
} Kind;

typedef struct Kinds {
    Kind kinds[KINDS_MAX];
    unsigned count;
} Kinds;

static Kinds things, completions;

static void add_kind(Kinds *kinds, Kind kind)
{
    if (kinds->count == KINDS_MAX) {
        fprintf(stderr, "check: no room for the kind '%s', there are %u\n", kind.what, kinds->count);
        abort();
    }
    kinds->kinds[kinds->count++] = kind;
}

void check_leak_register(const char *what, uint64_t (*count)(void), void (*describe)(char *text, size_t size))
{
    add_kind(&things, (Kind){ what, count, describe });
}

void check_completion_register(const char *what, uint64_t (*count)(void), void (*describe)(char *text, size_t size))
{
    add_kind(&completions, (Kind){ what, count, describe });
}

static void say_count(CheckResult *verdict, const char *what, uint64_t count, const char *list)
{
    check_say(verdict, "%s%llu %s%s", verdict->message[0] ? ", " : "", (unsigned long long)count, what, count == 1 ? "" : "s");
    if (list[0]) {
        check_say(verdict, " (%s)", list);
    }
}

static bool count_kinds(const Kinds *kinds, CheckResult *verdict)
{
    bool found = false;

    for (unsigned i = 0; i < kinds->count; i++) {
        char list[LIST_BYTES] = "";
        uint64_t count = kinds->kinds[i].count();

        if (count == 0) {
            continue;
        }
        if (kinds->kinds[i].describe) {
            kinds->kinds[i].describe(list, sizeof(list));
        }
        say_count(verdict, kinds->kinds[i].what, count, list);
        found = true;
    }
    return found;
}

static void say_threads(const SchedResult *result, CheckResult *verdict)
{
    char list[LIST_BYTES] = "";
    size_t used = 0;
    unsigned named = 0;

    for (uint32_t id = 1; id < sched_thread_count() && used < sizeof(list); id++) {
        SchedThread *thread = sched_thread_by_id(id);

        if (!thread || sched_thread_ended(thread) || sched_thread_is_daemon(thread)) {
            continue;
        }
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
                                 named++ < NAMES_MAX ? check_thread_name(id) : "…");
        if (named > NAMES_MAX) {
            break;
        }
        if (!verdict->culprit) {
            verdict->culprit = thread;
        }
    }
    say_count(verdict, "thread", result->threads_left, list[0] ? list : "ended, but neither joined nor detached");
}

bool check_leak(const SchedResult *result, CheckResult *verdict)
{
    if (result->threads_left) {
        say_threads(result, verdict);
    }
    if (!count_kinds(&things, verdict) && !result->threads_left) {
        return false;
    }
    verdict->verdict = CHECK_LEAK;
    return true;
}

bool check_lost_completion(const SchedResult *result, CheckResult *verdict)
{
    if (!count_kinds(&completions, verdict)) {
        return false;
    }
    verdict->verdict = CHECK_LOST_COMPLETION;
    check_say(verdict, " finished, and nobody was told");
    verdict->culprit = result->culprit;
    if (!verdict->culprit && result->outcome == SCHED_QUIESCENT) {
        verdict->culprit = sched_thread_by_id(0);
    }
    return true;
}
