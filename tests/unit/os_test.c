/* The driver behind os_test.h. */
#include "os_test.h"

#include <glib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/os.h"

#define SEEDS 12u /* walks and priorities in turn; a program of two threads has a handful of orders */

static GString *transcript;

/* The programs misuse locks on purpose: the errors that they get are part of the transcript. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0:report_destroy_locked=0:detect_deadlocks=0:atexit_sleep_ms=0";
}

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_invalid_join=0";
}

void say(const char *format, ...)
{
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    g_string_append(transcript, line);
    g_string_append_c(transcript, '\n');
}

void say_call(const char *text, long result, bool returns_error)
{
    int error = returns_error ? (int)result : errno;
    const char *name = strerrorname_np(error);

    if (returns_error) {
        say("%s: %s", text, result == 0 ? "ok" : result > 0 && name ? name : "other");
    } else if (result < 0) {
        say("%s: %ld %s", text, result, name ? name : "?");
    } else {
        say("%s: %ld", text, result);
    }
}

pthread_t start(void *(*function)(void *), void *argument)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, function, argument)) {
        abort();
    }
    return thread;
}

void *finish(pthread_t thread)
{
    void *value = NULL;

    if (pthread_join(thread, &value)) {
        abort();
    }
    return value;
}

struct timespec in_ms(clockid_t clock, long ms)
{
    struct timespec time;
    int64_t ns;

    clock_gettime(clock, &time);
    ns = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec + ms * INT64_C(1000000);
    return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

static void *native_main(void *opaque)
{
    const OsProgram *program = opaque;

    program->run();
    return NULL;
}

static char *run_natively(const OsProgram *program)
{
    transcript = g_string_new(NULL);
    finish(start(native_main, (void *)(size_t)program));
    return g_string_free(transcript, FALSE);
}

static void simulated_main(void *opaque)
{
    const OsProgram *program = opaque;

    program->run();
}

static char *run_simulated(const OsProgram *program, const SchedPlan *plan, uint64_t *hash)
{
    const SchedResult *result;
    char left[128];

    transcript = g_string_new(NULL);
    result = sched_run(simulated_main, (void *)(size_t)program, plan, NULL);
    *hash = result->trace_hash;
    if (result->outcome != SCHED_DONE) {
        g_error("%s: outcome %d (%s), after:\n%s", program->path, result->outcome, result->message ? result->message : "",
                transcript->str);
    }
    g_assert_cmpuint(result->steps, >, 0); /* it was simulated */
    g_assert_cmpuint(result->threads_left, ==, 0);
    if (os_describe_fd_left(0, left, sizeof(left)) >= 0) {
        g_error("%s: left open: %s", program->path, left);
    }
    g_assert_cmpint(os_mutexes_left(), ==, 0);
    return g_string_free(transcript, FALSE);
}

/* Fails with the first line that differs. */
static void compare(const OsProgram *program, unsigned seed, const char *native, const char *simulated)
{
    char **left = g_strsplit(native, "\n", 0), **right = g_strsplit(simulated, "\n", 0);

    for (unsigned i = 0; left[i] || right[i]; i++) {
        if (g_strcmp0(left[i], right[i]) != 0) {
            g_error("%s, seed %u, line %u:\n  native    %s\n  simulated %s", program->path, seed, i + 1,
                    left[i] ? left[i] : "(end)", right[i] ? right[i] : "(end)");
        }
        if (!left[i] || !right[i]) {
            break;
        }
    }
    g_strfreev(left);
    g_strfreev(right);
}

static void run_both(gconstpointer opaque)
{
    const OsProgram *program = opaque;
    char *native = run_natively(program);

    for (unsigned seed = 0; seed <= SEEDS; seed++) {
        SchedPlan plan = {
            .base = seed == 0  ? SCHED_BASE_FIFO
                    : seed % 2 ? SCHED_BASE_WALK
                               : SCHED_BASE_POS,
            .seed = seed,
            .parameter = (uint8_t)seed,
        };
        uint64_t hash, again;
        char *simulated = run_simulated(program, &plan, &hash);

        compare(program, seed, native, simulated);
        g_free(simulated);
        g_free(run_simulated(program, &plan, &again));
        g_assert_cmpuint(hash, ==, again);
    }
    g_test_message("%s", native);
    g_free(native);
}

const SchedResult *os_test_simulate(void (*body)(void *), void *argument)
{
    SchedPlan plan = { .base = SCHED_BASE_FIFO };

    const SchedResult *result;

    transcript = g_string_new(NULL);
    result = sched_run(body, argument, &plan, NULL);
    g_string_free(transcript, TRUE);
    return result;
}

const SchedResult *os_test_expect_unmodelled(void (*body)(void *))
{
    const SchedResult *result = os_test_simulate(body, NULL);

    g_assert_cmpint(result->outcome, ==, SCHED_FAILED);
    g_assert_cmpstr(result->reason, ==, "unmodelled");
    g_assert_nonnull(strstr(result->message, "is not modelled"));
    return result;
}

void os_test_unmodelled(const void *body)
{
    os_test_expect_unmodelled((void (*)(void *))(size_t)body);
}

int os_test_skip(const char *why)
{
    printf("1..0 # SKIP %s\n", why);
    return 0;
}

void os_test_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    g_assert_cmpint(sched_init(), ==, 0);
    os_init();
}

int os_test_run(int argc, char **argv, const OsProgram *programs, size_t count)
{
    os_test_init(&argc, &argv);
    return os_test_run_programs(programs, count);
}

int os_test_run_programs(const OsProgram *programs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        g_test_add_data_func(programs[i].path, &programs[i], run_both);
    }
    return g_test_run();
}
