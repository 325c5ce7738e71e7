/*
 * The order of the passes, and what is kept on disk meanwhile. See minimize.h and minimizer.h.
 *
 *  1. The finding as it is: its key is what every later probe must have.
 *  2. Of a livelock, which runs to the step bound in each probe: by how few steps is it known? Again before each round.
 *  3. Rewritten as first-in-first-out order with records, all of them.
 *  4. Records left out until each one is needed.
 *  5. Bytes of the scenario deleted, zeroed, lowered; then the finding is looked for in simpler scenarios; again, until nothing helps.
 *  6. Fewer preemptions by other records; lower numbers; fewer steps.
 *  7. Where it takes more records than an input holds even so: the passes again under the plan that it came with; a part of the time is kept for it.
 *  8. Findings of other kinds that probes met are rewritten too, shrunk until an input can hold them, and saved beside.
 */
#include "fuzz/minimize.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fuzz/minimizer.h"

enum { ROUNDS_MAX = 12 };
#define OTHERS_SECONDS 2.0  /* for each finding of another kind */
#define KEPT_OF_TIME   0.25 /* for the plan that a finding came with, while its records are too many */

static const char *output_path;
static bool output_failed; /* the last time, which has been said */

typedef struct Written {
    uint64_t bytes, preemptions, steps, hash;
    size_t scenario;
    uint32_t records;
    bool rewritten;
    char summary[PROBE_SUMMARY_BYTES];
} Written;

static Written on_disk; /* what the output holds: the finding as it was, until something better is written */

static void on_interrupt(int number)
{
    (void)number;
    probe_stop();
}

static bool read_file(const char *program, const char *path, gchar **data, gsize *size)
{
    GError *error = NULL;

    if (!g_file_get_contents(path, data, size, &error)) {
        fprintf(stderr, "%s: %s\n", program, error->message);
        g_error_free(error);
        return false;
    }
    return true;
}

/* ---- what is kept */

/* Written beside and renamed: at each moment the file is whole, and where it cannot be written, what it was. */
static bool write_bytes(GBytes *bytes, const char *path, bool quiet)
{
    GError *error = NULL;
    gsize size;
    const char *data = g_bytes_get_data(bytes, &size);
    bool good = g_file_set_contents(path, data ? data : "", (gssize)size, &error);

    if (!good && !quiet) {
        fprintf(stderr, "\ncannot write %s: %s\n", path, error->message);
    }
    g_clear_error(&error);
    return good;
}

static bool write_output(const Recipe *recipe)
{
    GBytes *bytes = recipe_to_bytes(recipe);

    if (!bytes) {
        return false;
    }
    output_failed = !write_bytes(bytes, output_path, output_failed);
    g_bytes_unref(bytes);
    return !output_failed;
}

static void on_improvement(const Minimizer *m)
{
    /* Rewritten as records a finding may be longer than it was: whoever interrupts it then keeps the shorter one. */
    if (m->cost.overflow || (m->preemptions >= on_disk.preemptions && m->cost.bytes > on_disk.bytes)) {
        return;
    }
    if (!write_output(&m->best)) {
        return; /* what comes next is written if it is better than what is there */
    }
    on_disk = (Written){ m->cost.bytes,         m->preemptions,         m->steps,       m->hash,
                         m->best.scenario_size, m->best.override_count, !m->as_written, "" };
    g_strlcpy(on_disk.summary, m->summary, sizeof(on_disk.summary));
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%" PRIu64 " bytes, %" PRIu64 " preemptions, %" PRIu64 " probes ", m->cost.bytes, m->preemptions,
                probe_executions());
    }
}

/* ---- the passes */

/* Without one of the parts of a plan that was not rewritten. */
static bool minimize_plan(Minimizer *m)
{
    GArray *batch = minimizer_batch();
    Recipe plain = recipe_copy(&m->best);

    memset(&plain.plan, 0, sizeof(plain.plan));
    plain.plan.atomics = m->best.plan.atomics;
    minimizer_batch_add(batch, plain);
    for (unsigned i = 0; i < m->best.plan.constraint_count; i++) {
        Recipe less = recipe_copy(&m->best);

        less.plan.constraints[i] = less.plan.constraints[--less.plan.constraint_count];
        minimizer_batch_add(batch, less);
    }
    if (m->best.plan.count_count) {
        Recipe less = recipe_copy(&m->best);

        less.plan.count_count = 0;
        minimizer_batch_add(batch, less);
    }
    if (m->best.plan.disturb) {
        Recipe less = recipe_copy(&m->best);

        less.plan.disturb = 0;
        minimizer_batch_add(batch, less);
    }
    return minimizer_try(m, batch, MINIMIZER_CHEAPER) >= 0;
}

static void minimize_all(Minimizer *m)
{
    bool again = true;

    minimize_overrides(m);
    for (unsigned round = 0; again && round < ROUNDS_MAX && !minimizer_stopped(m); round++) {
        minimizer_lower_bound(m);
        again = m->as_written && minimize_plan(m);
        again = minimize_scenario(m) || again;
        again = minimize_overrides(m) || again;
        again = minimize_search(m) || again;
        again = minimize_preemptions(m) || again;
        again = minimize_numbers(m) || again;
    }
}

/* Is base FIFO with the deviations the same finding? It is, unless there are more of them than the scheduler writes down; if not, the best stays
 * as it was written. Of a livelock those up to where it is known are enough, mostly. */
static void rewrite(Minimizer *m)
{
    GArray *batch = minimizer_batch();

    m->as_written = false;
    if (minimizer_lower_bound(m)) {
        ProbeResult begun;

        probe_set_step_bound(m->step_bound);
        probe_one(&m->best, &begun);
        minimizer_batch_add(batch, recipe_pure(&m->best, begun.deviations, begun.deviation_count));
    }
    minimizer_batch_add(batch, recipe_pure(&m->best, m->deviations, m->deviation_count));
    m->as_written = minimizer_try(m, batch, MINIMIZER_SAME_KEY) < 0;
}

/* Where the smallest form so far takes more records than an input holds. Returns how many; 0: it is written. */
static uint64_t minimize_as_it_came(Minimizer *m, const Recipe *original)
{
    uint64_t records = m->cost.overflow;
    ProbeResult result;
    Minimizer trial;

    m->kept_s = 0;
    if (!records || minimizer_stopped(m)) {
        return records;
    }
    m->step_bound = 0;
    probe_set_step_bound(0);
    if (probe_one(original, &result) && strcmp(result.key, m->key) == 0) {
        m->as_written = true;
        minimizer_begin_trial(&trial, m, original, &result);
        trial.improved = m->improved;
        minimize_all(&trial);
        minimizer_adopt(m, &trial);
    }
    return records;
}

/* ---- findings of other kinds */

static char *free_name(const char *verdict)
{
    char *name = NULL;

    for (unsigned n = 1;; n++) {
        name = g_strdup_printf("%s.other-%s-%u", output_path, verdict, n);
        if (!g_file_test(name, G_FILE_TEST_EXISTS)) {
            return name;
        }
        g_free(name);
    }
}

/* Is this the key of the finding itself, or of one that is saved, or will be? */
static bool is_known(const Minimizer *m, guint index, const char *key)
{
    for (guint i = 0; i < m->others->len; i++) {
        const MinimizerOther *other = &g_array_index(m->others, MinimizerOther, i);

        if ((i < index || other->proved) && strcmp(other->key, key) == 0) {
            return true;
        }
    }
    return strcmp(m->key, key) == 0;
}

static void save_other(const Minimizer *m, guint index)
{
    MinimizerOther *other = &g_array_index(m->others, MinimizerOther,
                                           index); /* until the trial finds more, and the array moves */
    Minimizer trial;
    ProbeResult result;
    bool finding;
    GBytes *bytes;
    char *name;

    probe_set_step_bound(0);
    finding = probe_one(&other->recipe, &result);
    if (!other->proved) {
        if (!finding || is_known(m, index, result.key)) {
            return; /* it only took longer than the finding that is minimized */
        }
        memcpy(other->key, result.key, sizeof(other->key));
        memcpy(other->verdict, result.verdict, sizeof(other->verdict));
    }
    if (!finding || strcmp(result.key, other->key) != 0) {
        printf("unsaved %s\t%s\n", other->verdict, other->key);
        return;
    }
    minimizer_begin_trial(&trial, m, &other->recipe, &result);
    trial.deadline = minimizer_now() + OTHERS_SECONDS;
    trial.step_bound = 0;
    rewrite(&trial);
    minimize_overrides(&trial);
    name = free_name(trial.verdict);
    bytes = recipe_to_bytes(&trial.best);
    if (!bytes) {
        printf("unsaved %s\t%s\n", trial.verdict, trial.key);
    } else if (write_bytes(bytes, name, false)) {
        printf("other %s\t%s\t%s\n", trial.verdict, name, trial.key);
    } else {
        printf("unwritten-other %s\t%s\t%s\n", trial.verdict, name, trial.key);
    }
    g_bytes_unref(bytes);
    g_free(name);
    minimizer_end(&trial);
}

/* ---- the whole */

static double cpu_seconds(int who)
{
    struct rusage usage;

    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void print_result(const Minimizer *m, const ProbeResult *first, size_t first_bytes, uint64_t unwritten, double seconds)
{
    printf("verdict %s\nkey %s\nsummary %s\nhash %016" PRIx64 "\n", m->verdict, m->key, on_disk.summary, on_disk.hash);
    printf("bytes %zu %" PRIu64 "\npreemptions %" PRIu64 " %" PRIu64 "\nsteps %" PRIu64 " %" PRIu64 "\n", first_bytes,
           on_disk.bytes, first->preemptions, on_disk.preemptions, first->steps, on_disk.steps);
    printf("scenario %zu\nrecords %" PRIu32 "\nunwritten %" PRIu64 "\nrewritten %s\n", on_disk.scenario, on_disk.records,
           unwritten, on_disk.rewritten ? "yes" : "no");
    printf("probes %" PRIu64 "\nforks %" PRIu64 "\nstep_bound %" PRIu64 "\nseconds %.3f\ncpu_seconds %.3f\nstopped %s\n",
           probe_executions(), probe_forks(), m->step_bound, seconds, cpu_seconds(RUSAGE_SELF) + cpu_seconds(RUSAGE_CHILDREN),
           minimizer_stopped(m) ? "yes" : "no");
}

/* The file as it is on disk, in a child of its own: the finding that it was, or something went wrong. */
static bool verify(const Minimizer *m, const char *program)
{
    ProbeResult result;
    gchar *data;
    gsize size;
    Recipe recipe;
    bool good;

    if (!read_file(program, output_path, &data, &size)) {
        return false;
    }
    recipe = recipe_from_bytes((const uint8_t *)data, size);
    probe_set_step_bound(0);
    good = probe_one(&recipe, &result) && strcmp(result.key, m->key) == 0 && result.hash == on_disk.hash;
    if (!good) {
        fprintf(stderr, "%s: %s does not replay as it was found: %s\n", program, output_path, result.summary);
    }
    recipe_free(&recipe);
    g_free(data);
    return good;
}

static bool save_original(const char *program, const Recipe *original, const gchar *data, gsize size, const ProbeResult *first)
{
    GError *error = NULL;

    if (!g_file_set_contents(output_path, data, (gssize)size, &error)) {
        fprintf(stderr, "%s: cannot write %s: %s\n", program, output_path, error->message);
        g_error_free(error);
        return false;
    }
    on_disk = (Written){
        size, first->preemptions, first->steps, first->hash, original->scenario_size, original->override_count, false, ""
    };
    g_strlcpy(on_disk.summary, first->summary, sizeof(on_disk.summary));
    output_failed = false;
    return true;
}

static int minimize(const char *program, Minimizer *m, const Recipe *original, const gchar *data, gsize size)
{
    double started = minimizer_now();
    ProbeResult first;
    uint64_t unwritten;
    bool good;

    if (!probe_one(original, &first)) {
        fprintf(stderr, "%s: no finding: nothing to minimize (is it the right target, fault and flavour?)\n", program);
        return 2;
    }
    if (!save_original(program, original, data, size, &first)) {
        return 2;
    }
    minimizer_begin(m, original, &first);
    m->improved = on_improvement;
    rewrite(m);
    minimize_all(m);
    unwritten = minimize_as_it_came(m, original);
    if (isatty(STDERR_FILENO)) {
        fputc('\n', stderr);
    }
    good = verify(m, program);
    print_result(m, &first, size, unwritten, minimizer_now() - started);
    for (guint i = 0; i < m->others->len; i++) {
        save_other(m, i);
    }
    return good ? 0 : 2;
}

static void clear_other(gpointer other)
{
    recipe_free(&((MinimizerOther *)other)->recipe);
}

int minimize_file(const char *program, const char *path, const char *output, double seconds)
{
    SchedRandom random;
    Minimizer m = { .random = &random, .deadline = minimizer_now() + seconds, .kept_s = seconds * KEPT_OF_TIME };
    struct sigaction interrupt = { .sa_handler = on_interrupt };
    Recipe original;
    gchar *data;
    gsize size;
    int status;

    if (!read_file(program, path, &data, &size)) {
        return 2;
    }
    output_path = output;
    sched_random_seed(&random, 0);
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &interrupt, NULL);
    m.others = g_array_new(FALSE, FALSE, sizeof(MinimizerOther));
    g_array_set_clear_func(m.others, clear_other);
    original = recipe_from_bytes((const uint8_t *)data, size);
    status = minimize(program, &m, &original, data, size);
    minimizer_end(&m);
    recipe_free(&original);
    g_array_free(m.others, TRUE);
    g_free(data);
    return status;
}

void describe_result(const char *path, size_t size, const ProbeResult *result)
{
    printf("%s\t%s\t%zu\t%" PRIu64 "\t%" PRIu64 "\t%016" PRIx64 "\t%s\t%s\n", path, result->verdict, size, result->preemptions,
           result->steps, result->hash, result->key, result->summary);
}

int describe_file(const char *program, const char *path)
{
    ProbeResult result;
    Recipe recipe;
    gchar *data;
    gsize size;
    bool finding;

    if (!read_file(program, path, &data, &size)) {
        return 2;
    }
    recipe = recipe_from_bytes((const uint8_t *)data, size);
    finding = probe_one(&recipe, &result);
    describe_result(path, size, &result);
    recipe_free(&recipe);
    g_free(data);
    return finding;
}
