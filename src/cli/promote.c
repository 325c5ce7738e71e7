/*
 * wakefuzz promote: a finding becomes a file of the corpus with a name, a line in tests/corpus/shows.list by which tools/check replays it, and
 * a program that walks through its schedule in a debugger.
 *
 * 1. All of it is made before any of it is written, and what was written is taken back where the rest cannot be.
 * 2. Nothing is overwritten but a program that was generated before.
 * 3. All of it is of one flavour: plain, where the finding is the same there; else the one of the sanitizer that sees it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/walk.h"

enum { NAME_LETTERS_MAX = 100 };

typedef struct Promotion {
    const Subject *subject;
    char *name, *flavour;
    char *corpus;  /* path of the new file */
    char *list;    /* of shows.list */
    char *program; /* of the generated one */
    char *input;
    gsize input_bytes;
    char *list_text, *program_text; /* as they are to be; list_text NULL: it stays */
    JsonObject *facts;
} Promotion;

/* ---- what must be so */

static bool check_name(const char *name)
{
    bool good = name && g_regex_match_simple("^[a-z0-9]+(-[a-z0-9]+)*$", name, G_REGEX_DOLLAR_ENDONLY, 0) &&
                strlen(name) <= NAME_LETTERS_MAX;

    if (!name) {
        cli_fail("--name NAME is missing: say what the input shows, as in last-reader-leaves-while-the-writer-polls");
    } else if (!good) {
        cli_fail("'%s' is no name for a file of the corpus: small letters and digits, words with - between them, at most %d",
                 name, NAME_LETTERS_MAX);
    }
    return good;
}

static bool can_write_into(const char *folder)
{
    if (access(folder, W_OK) != 0) {
        cli_fail("cannot write into %s: %s", folder, g_strerror(errno));
        return false;
    }
    return true;
}

static bool read_input(Promotion *promotion)
{
    GError *error = NULL;

    if (!g_file_get_contents(promotion->subject->path, &promotion->input, &promotion->input_bytes, &error)) {
        cli_fail("%s", error->message);
        g_error_free(error);
        return false;
    }
    return true;
}

/* Neither the name nor the bytes are in the corpus of the target. */
static bool is_new(const Promotion *promotion)
{
    char *folder = g_path_get_dirname(promotion->corpus), *shown = cli_relative(promotion->corpus);
    GDir *dir = g_dir_open(folder, 0, NULL);
    bool good = true;
    const char *name;

    if (g_file_test(promotion->corpus, G_FILE_TEST_EXISTS) || g_file_test(promotion->corpus, G_FILE_TEST_IS_SYMLINK)) {
        cli_fail("%s is there already: give another --name", shown);
        good = false;
    }
    while (good && dir && (name = g_dir_read_name(dir))) {
        char *path = g_build_filename(folder, name, NULL), *bytes = NULL;
        gsize size = 0;

        if (g_file_get_contents(path, &bytes, &size, NULL) && size == promotion->input_bytes &&
            memcmp(bytes, promotion->input, size) == 0) {
            cli_fail("corpus/%s/%s holds the same bytes already", promotion->subject->target, name);
            good = false;
        }
        g_free(bytes);
        g_free(path);
    }
    if (dir) {
        g_dir_close(dir);
    }
    g_free(shown);
    g_free(folder);
    return good;
}

/* A fault's finding must be none in the core as it is: the corpus is replayed there, and is silent. */
static bool is_silent_without_fault(const Promotion *promotion)
{
    Subject fixed = { .path = promotion->subject->path, .target = promotion->subject->target, .flavour = promotion->flavour };
    Description description = { NULL };
    char *flavour = promotion->subject->fault ? subject_flavour(&fixed) : NULL;
    bool good = !promotion->subject->fault;

    if (flavour && describe(&fixed, flavour, &description)) {
        good = !description_is_finding(&description);
        if (!good) {
            cli_fail("%s is a finding without the fault, too (%s): a bug of the core, promote it with --target %s",
                     promotion->subject->path, description.verdict, promotion->subject->target);
        }
    }
    description_free(&description);
    g_free(flavour);
    return good;
}

/* ---- the line of shows.list */

/* The value of "object=reader_count" in the key, where it is one word. */
static char *object_of(const char *key)
{
    const char *at = strstr(key, " object=");
    char *object = at ? g_strndup(at + 8, strcspn(at + 8, " ")) : NULL;

    if (object && (!object[0] || strchr(object, '?'))) {
        g_clear_pointer(&object, g_free);
    }
    return object;
}

/* "use-after-free AddressSanitizer stack=a,b stack=c": the verdict and the functions, as words. Of what a sanitizer or a signal ended. */
static char *words_of_key(const char *key)
{
    char **words = g_strsplit(key, " ", -1);
    GString *text = g_string_new(words[0]);

    for (guint i = 1; words[0] && words[i]; i++) {
        if (g_str_has_prefix(words[i], "stack=")) {
            g_string_append_printf(text, " %s", g_strdelimit(words[i] + strlen("stack="), ",", ' '));
        }
    }
    g_strfreev(words);
    return g_string_free(text, FALSE);
}

/* Words that stand in the report in this order: the verdict, the object of a lost wakeup, the token of verdict and functions. */
static char *words_to_show(const Promotion *promotion)
{
    if (facts_flag(promotion->facts, "cut")) {
        return words_of_key(facts_of_finding(promotion->facts, "key"));
    }

    const char *verdict = facts_text(promotion->facts, "verdict"), *token = facts_text(promotion->facts, "token");
    char *object = object_of(facts_text(promotion->facts, "key")),
         *report = describe_report(promotion->subject, promotion->flavour);
    const char *at = report && object ? strstr(report, verdict) : NULL;
    char *words;

    at = at ? strstr(at, object) : NULL;
    words = at && strstr(at, token) ? g_strdup_printf("%s %s %s", verdict, object, token)
                                    : g_strdup_printf("%s %s", verdict, token);
    g_free(report);
    g_free(object);
    return words;
}

static bool make_list(Promotion *promotion)
{
    GError *error = NULL;
    char *before = NULL, *words, *where;
    bool plain = strcmp(promotion->flavour, "plain") == 0;

    if (!promotion->subject->fault) {
        return true; /* the replay of the corpus is the test */
    }
    if (!g_file_get_contents(promotion->list, &before, NULL, &error)) {
        cli_fail("%s", error->message);
        g_error_free(error);
        return false;
    }
    words = words_to_show(promotion);
    where = g_strconcat(plain ? "" : promotion->flavour, plain ? "" : ":", promotion->subject->fault, NULL);
    promotion->list_text = g_strdup_printf("%s%s%-34s %s/%s  %s\n", before,
                                           !before[0] || g_str_has_suffix(before, "\n") ? "" : "\n", where,
                                           promotion->subject->target, promotion->name, words);
    g_free(where);
    g_free(words);
    g_free(before);
    return true;
}

/* ---- the program */

static bool may_overwrite(const char *program)
{
    char *text = NULL;
    bool good = !g_file_test(program, G_FILE_TEST_EXISTS) ||
                (g_file_get_contents(program, &text, NULL, NULL) && g_str_has_prefix(text, WALK_MARK));

    g_free(text);
    if (!good) {
        cli_fail("%s is there already, and not generated by this command: --program names another place", program);
    }
    return good;
}

static bool make_program(Promotion *promotion)
{
    const Subject *subject = promotion->subject;
    char *replay = subject_replay(subject, promotion->flavour), *folder = g_build_filename(cli_build(), promotion->flavour, NULL);
    char *name = g_strdup_printf("%s/%s", subject->target, promotion->name), *output = g_strdup(promotion->program);

    output[strlen(output) - strlen(".c")] = '\0';
    promotion->program_text = walk_make(&(WalkSubject){ .name = name,
                                                        .flavour = promotion->flavour,
                                                        .goal = replay + strlen(folder) + 1,
                                                        .source = promotion->program,
                                                        .output = output,
                                                        .input = (const guint8 *)promotion->input,
                                                        .input_bytes = promotion->input_bytes },
                                        promotion->facts);
    g_free(output);
    g_free(name);
    g_free(folder);
    g_free(replay);
    return promotion->program_text;
}

/* ---- writing */

static bool write_file(const char *path, const char *data, gsize size)
{
    GError *error = NULL;

    if (!g_file_set_contents(path, data, (gssize)size, &error)) { /* beside, and renamed: whole or not there */
        cli_fail("cannot write %s: %s; nothing was promoted", path, error->message);
        g_error_free(error);
        return false;
    }
    return true;
}

static bool write_all(const Promotion *promotion)
{
    char *folder = g_path_get_dirname(promotion->program);
    bool made_folder = !g_file_test(folder, G_FILE_TEST_EXISTS), good = true;

    if (g_mkdir_with_parents(folder, 0777) != 0) {
        cli_fail("cannot make the folder %s: %s; --program names another place", folder, g_strerror(errno));
        good = false;
    } else if (!write_file(promotion->program, promotion->program_text, strlen(promotion->program_text))) {
        good = false;
    } else if (!write_file(promotion->corpus, promotion->input, promotion->input_bytes)) {
        unlink(promotion->program);
        good = false;
    } else if (promotion->list_text && !write_file(promotion->list, promotion->list_text, strlen(promotion->list_text))) {
        unlink(promotion->program);
        unlink(promotion->corpus);
        good = false;
    }
    if (!good && made_folder) {
        rmdir(folder);
    }
    g_free(folder);
    return good;
}

static void tell(const Promotion *promotion)
{
    char *corpus = cli_relative(promotion->corpus), *list = cli_relative(promotion->list),
         *program = cli_relative(promotion->program);

    printf("%s%s%s\n", cli_red(), facts_of_finding(promotion->facts, "summary"), cli_plain());
    printf("  %s: %" G_GSIZE_FORMAT " byte%s; tools/check replays it in the core as it is, where it must be silent\n", corpus,
           promotion->input_bytes, promotion->input_bytes == 1 ? "" : "s");
    if (promotion->list_text) {
        printf("  %s: and in %s, flavour %s, where it must show this (tests/corpus/shows)\n", list, promotion->subject->fault,
               promotion->flavour);
    } else {
        printf("  that test fails until the bug is fixed; then tests/faults/NAME.patch keeps it found (CONTRIBUTING.md)\n");
    }
    printf("  %s: the schedule step by step in a debugger; its head says how\n", program);
    g_free(program);
    g_free(list);
    g_free(corpus);
}

/* ---- the whole */

/* A test would wait a minute for it each time, and its program has nothing to stop at after the last step. */
static bool ends(const Promotion *promotion)
{
    bool good = strcmp(facts_of_finding(promotion->facts, "verdict"), "timeout") != 0;

    if (!good) {
        cli_fail("%s does not end (%s): there is nothing that a test could wait for, and no step to walk to",
                 promotion->subject->path, facts_of_finding(promotion->facts, "summary"));
    }
    return good;
}

static int promote(Promotion *promotion)
{
    char *folder = g_path_get_dirname(promotion->corpus), *list_folder = g_path_get_dirname(promotion->list);
    bool good = can_write_into(folder) && can_write_into(list_folder) && read_input(promotion) && is_new(promotion) &&
                may_overwrite(promotion->program) &&
                (promotion->flavour = describe_finding_fast(promotion->subject, "promote")) &&
                (promotion->facts = facts_read(promotion->subject, promotion->flavour, true)) && ends(promotion) &&
                is_silent_without_fault(promotion) && make_list(promotion) && make_program(promotion) && write_all(promotion);

    if (good) {
        tell(promotion);
    }
    g_free(list_folder);
    g_free(folder);
    return good ? CLI_DONE : CLI_COULD_NOT;
}

static void set_places(Promotion *promotion, const char *program)
{
    char *file = g_strdup_printf("%s-%s.c", promotion->subject->target, promotion->name);

    promotion->corpus = g_build_filename(cli_root(), "corpus", promotion->subject->target, promotion->name, NULL);
    promotion->list = g_build_filename(cli_root(), "tests", "corpus", "shows.list", NULL);
    promotion->program = program ? g_canonicalize_filename(program, NULL) : g_build_filename(cli_build(), "promoted", file, NULL);
    g_free(file);
}

static void promotion_free(Promotion *promotion)
{
    g_free(promotion->flavour);
    g_free(promotion->corpus);
    g_free(promotion->list);
    g_free(promotion->program);
    g_free(promotion->input);
    g_free(promotion->list_text);
    g_free(promotion->program_text);
    g_clear_pointer(&promotion->facts, json_object_unref);
}

int command_promote(int argc, char **argv)
{
    SubjectOptions options = { NULL };
    char *name = NULL, *program = NULL, **rest;
    const GOptionEntry entries[] = {
        { "name", 'n', 0, G_OPTION_ARG_STRING, &name, "what it shows: the file's name in the corpus", "NAME" },
        { "program", 0, 0, G_OPTION_ARG_FILENAME, &program, "where to write the program (default: build/promoted/TARGET-NAME.c)",
          "FILE" },
        SUBJECT_OPTIONS(options),
        { NULL, 0, 0, 0, NULL, NULL, NULL },
    };
    Subject subject;
    int status = CLI_COULD_NOT;

    if (!cli_parse(&argc, &argv, "promote FILE --name NAME",
                   "Make a finding a file of the corpus, a regression test, and a program that walks through it in a debugger.",
                   entries, &rest, &status)) {
        return status;
    }
    if (g_strv_length(rest) != 1) {
        status = cli_fail("give one FILE");
    } else if (program && (!g_str_has_suffix(program, ".c") || strlen(program) < 3)) {
        status = cli_fail("--program takes a name that ends with .c, not '%s'", program);
    } else if (check_name(name) && subject_find(rest[0], &options, &subject)) {
        Promotion promotion = { .subject = &subject, .name = name };

        set_places(&promotion, program);
        status = promote(&promotion);
        promotion_free(&promotion);
        subject_free(&subject);
    } else {
        status = CLI_COULD_NOT;
    }
    g_free(name);
    g_free(program);
    g_strfreev(rest);
    return status;
}
