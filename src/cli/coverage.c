/*
 * See coverage.h. One thread.
 *
 * 1. A function of a header is there once for each file that includes it, and a function of the core once for each program: it is reached
 *    where one of them was. They are the same where file and line are.
 * 2. Of two holes one of which lies in the other, the larger one is told.
 * 3. A condition in a macro is one of the function that uses the macro, once for each use.
 */
#include "cli/coverage.h"

#include <json-glib/json-glib.h>
#include <string.h>

#include "cli/cli.h"

/* A region in llvm-cov's JSON: [line, column, end line, end column, count, file, expanded file, kind] */
enum {
    REGION_LINE,
    REGION_COLUMN,
    REGION_END_LINE,
    REGION_COUNT = 4,
    REGION_FILE,
    REGION_EXPANDED,
    REGION_KIND,
    REGION_FIELDS,
    KIND_CODE = 0,
    KIND_EXPANSION = 1,
};
/* A condition: [line, column, end line, end column, count of true, count of false, file, expanded file, kind]; file 0 is the function's own, the
 * others are uses of macros. */
enum { BRANCH_LINE, BRANCH_COLUMN, BRANCH_TRUE = 4, BRANCH_FALSE, BRANCH_FILE, BRANCH_FIELDS = 9 };

#define ASSERTIONS "src/core/fatal.h" /* its macro is core_assert() */
#define MACROS_MAX 64 /* one in the other */

/* While it is read: how often at most some lines were run. */
typedef struct Region {
    CoverageHole hole;
    gint64 count;
} Region;

/* And how often a condition had which value. */
typedef struct Condition {
    CoverageSide side;
    gint64 count[2];
} Condition;

static void clear_file(gpointer file)
{
    g_free(((CoverageFile *)file)->path);
}

static void clear_hole(gpointer hole)
{
    g_free(((CoverageHole *)hole)->path);
    g_free(((CoverageHole *)hole)->function);
}

static void free_region(gpointer region)
{
    clear_hole(&((Region *)region)->hole);
    g_free(region);
}

static void clear_side(gpointer side)
{
    g_free(((CoverageSide *)side)->path);
    g_free(((CoverageSide *)side)->function);
}

static void free_condition(gpointer condition)
{
    clear_side(&((Condition *)condition)->side);
    g_free(condition);
}

/* The path below the sources, where it lies in the folder; else NULL. Free it. */
static char *path_in(const char *path, const char *folder)
{
    char *relative = path ? cli_relative(path) : NULL;

    if (relative && (!g_str_has_prefix(relative, folder) || relative[strlen(folder)] != G_DIR_SEPARATOR)) {
        g_clear_pointer(&relative, g_free);
    }
    return relative;
}

/* ---- files */

static CoverageCount read_count(JsonObject *summary, const char *what)
{
    JsonObject *numbers = json_object_has_member(summary, what) ? json_object_get_object_member(summary, what) : NULL;
    CoverageCount count = { 0 };

    if (numbers) {
        count.all = json_object_get_int_member_with_default(numbers, "count", 0);
        count.reached = json_object_get_int_member_with_default(numbers, "covered", 0);
    }
    return count;
}

static void read_file(JsonObject *object, const char *folder, GArray *files)
{
    char *path = path_in(json_object_get_string_member_with_default(object, "filename", NULL), folder);
    JsonObject *summary = path ? json_object_get_object_member(object, "summary") : NULL;

    if (summary) {
        CoverageFile file = { .path = path,
                              .lines = read_count(summary, "lines"),
                              .functions = read_count(summary, "functions") };

        if (file.lines.all) { /* else a header without code */
            g_array_append_val(files, file);
            path = NULL;
        }
    }
    g_free(path);
}

/* ---- functions and their regions */

/* "src/core/bh.c:aio_bh_enqueue" is how a static one is called. */
static const char *bare_name(const char *name)
{
    const char *colon = strrchr(name, ':');

    return colon ? colon + 1 : name;
}

static void note_region(GHashTable *regions, char *key, const CoverageHole *hole, gint64 count)
{
    Region *region = g_hash_table_lookup(regions, key);

    if (!region) {
        region = g_new0(Region, 1);
        region->hole = *hole;
        region->hole.path = g_strdup(hole->path);
        region->hole.function = g_strdup(hole->function);
        g_hash_table_insert(regions, g_strdup(key), region);
    }
    region->count += count;
    g_free(key);
}

static gint64 field(JsonArray *region, guint i)
{
    return json_array_get_int_element(region, i);
}

static void read_function(JsonObject *object, const char *folder, GHashTable *regions)
{
    JsonArray *files = json_object_get_array_member(object, "filenames"), *all = json_object_get_array_member(object, "regions");
    const char *file = files && json_array_get_length(files) ? json_array_get_string_element(files, 0) : NULL;
    CoverageHole hole = { .path = path_in(file, folder) };
    bool first = true;

    hole.function = (char *)bare_name(json_object_get_string_member_with_default(object, "name", "?"));
    for (guint i = 0; hole.path && all && i < json_array_get_length(all); i++) {
        JsonArray *region = json_array_get_array_element(all, i);

        if (json_array_get_length(region) < REGION_FIELDS || field(region, REGION_FILE) != 0 ||
            field(region, REGION_KIND) != KIND_CODE) {
            continue;
        }
        hole.line = field(region, REGION_LINE);
        hole.end = field(region, REGION_END_LINE);
        hole.whole = first; /* a function's own region comes first */
        first = false;
        note_region(regions,
                    g_strdup_printf("%s:%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT, hole.path, hole.line,
                                    field(region, REGION_LINE + 1), hole.end),
                    &hole, field(region, REGION_COUNT));
    }
    g_free(hole.path);
}

/* ---- conditions */

/* The use of a macro that is file i of a function; NULL where it is none. */
static JsonArray *use_of(JsonArray *regions, gint64 i)
{
    for (guint n = 0; n < json_array_get_length(regions); n++) {
        JsonArray *region = json_array_get_array_element(regions, n);

        if (json_array_get_length(region) >= REGION_FIELDS && field(region, REGION_KIND) == KIND_EXPANSION &&
            field(region, REGION_EXPANDED) == i) {
            return region;
        }
    }
    return NULL;
}

static bool lies_in(JsonArray *files, gint64 i, const char *folder)
{
    char *path = i < json_array_get_length(files) ? path_in(json_array_get_string_element(files, (guint)i), folder) : NULL;
    bool lies = path && strcmp(path, ASSERTIONS) != 0;

    g_free(path);
    return lies;
}

/* Where in the function it stands, through all macros; 0: it is none of ours. */
static gint64 own_line(JsonArray *branch, JsonArray *regions, JsonArray *files, const char *folder)
{
    gint64 line = field(branch, BRANCH_LINE), i = field(branch, BRANCH_FILE);

    for (unsigned depth = 0; i != 0; depth++) {
        JsonArray *use = depth < MACROS_MAX && lies_in(files, i, folder) ? use_of(regions, i) : NULL;

        if (!use) {
            return 0;
        }
        line = field(use, REGION_LINE);
        i = field(use, REGION_FILE);
    }
    return line;
}

static void note_condition(GHashTable *conditions, char *key, const CoverageSide *side, JsonArray *branch)
{
    Condition *condition = g_hash_table_lookup(conditions, key);

    if (!condition) {
        condition = g_new0(Condition, 1);
        condition->side = (CoverageSide){ g_strdup(side->path), g_strdup(side->function), side->line, false };
        g_hash_table_insert(conditions, g_strdup(key), condition);
    }
    condition->count[true] += field(branch, BRANCH_TRUE);
    condition->count[false] += field(branch, BRANCH_FALSE);
    g_free(key);
}

static void read_conditions(JsonObject *object, const char *folder, GHashTable *conditions)
{
    JsonArray *files = json_object_get_array_member(object, "filenames"),
              *regions = json_object_get_array_member(object, "regions");
    JsonArray *all = json_object_has_member(object, "branches") ? json_object_get_array_member(object, "branches") : NULL;
    CoverageSide side = { .path = files && json_array_get_length(files) ? path_in(json_array_get_string_element(files, 0), folder)
                                                                        : NULL };

    side.function = (char *)bare_name(json_object_get_string_member_with_default(object, "name", "?"));
    for (guint i = 0; side.path && regions && all && i < json_array_get_length(all); i++) {
        JsonArray *branch = json_array_get_array_element(all, i);

        side.line = json_array_get_length(branch) >= BRANCH_FIELDS ? own_line(branch, regions, files, folder) : 0;
        if (side.line) {
            note_condition(conditions,
                           g_strdup_printf("%s:%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT,
                                           side.path, side.line, field(branch, BRANCH_FILE), field(branch, BRANCH_LINE),
                                           field(branch, BRANCH_COLUMN)),
                           &side, branch);
        }
    }
    g_free(side.path);
}

static gint compare_sides(gconstpointer a, gconstpointer b)
{
    const CoverageSide *x = a, *y = b;
    int order = strcmp(x->path, y->path);

    return order ? order : x->line != y->line ? (x->line < y->line ? -1 : 1) : x->side - y->side;
}

static CoverageFile *file_of(const Coverage *coverage, const char *path)
{
    for (guint i = 0; i < coverage->files->len; i++) {
        CoverageFile *file = &g_array_index(coverage->files, CoverageFile, i);

        if (strcmp(file->path, path) == 0) {
            return file;
        }
    }
    return NULL;
}

static void count_sides(GHashTable *conditions, Coverage *coverage)
{
    GHashTableIter iterator;
    gpointer value;

    coverage->sides = g_array_new(FALSE, TRUE, sizeof(CoverageSide));
    g_array_set_clear_func(coverage->sides, clear_side);
    g_hash_table_iter_init(&iterator, conditions);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        const Condition *condition = value;
        CoverageFile *file = file_of(coverage, condition->side.path);

        for (int side = 0; file && side < 2; side++) {
            file->branches.all++;
            file->branches.reached += condition->count[side] > 0;
            if (!condition->count[side]) {
                CoverageSide unreached = { g_strdup(condition->side.path), g_strdup(condition->side.function),
                                           condition->side.line, side };

                g_array_append_val(coverage->sides, unreached);
            }
        }
    }
    g_array_sort(coverage->sides, compare_sides);
}

/* ---- what nothing reached */

/* By path and line; of those that begin in the same one, the longest first. */
static gint compare_holes(gconstpointer a, gconstpointer b)
{
    const CoverageHole *x = a, *y = b;
    int order = strcmp(x->path, y->path);

    if (order) {
        return order;
    }
    return x->line != y->line ? (x->line < y->line ? -1 : 1) : x->end != y->end ? (x->end > y->end ? -1 : 1) : 0;
}

static GArray *holes_of(GHashTable *regions)
{
    GArray *all = g_array_new(FALSE, TRUE, sizeof(CoverageHole)), *outer = g_array_new(FALSE, TRUE, sizeof(CoverageHole));
    GHashTableIter iterator;
    gpointer value;

    g_hash_table_iter_init(&iterator, regions);
    while (g_hash_table_iter_next(&iterator, NULL, &value)) {
        if (((Region *)value)->count == 0) {
            g_array_append_val(all, ((Region *)value)->hole);
        }
    }
    g_array_sort(all, compare_holes);
    for (guint i = 0; i < all->len; i++) {
        CoverageHole hole = g_array_index(all, CoverageHole, i);
        const CoverageHole *last = outer->len ? &g_array_index(outer, CoverageHole, outer->len - 1) : NULL;

        if (!last || strcmp(last->path, hole.path) != 0 || hole.line > last->end) {
            hole.path = g_strdup(hole.path);
            hole.function = g_strdup(hole.function);
            g_array_append_val(outer, hole);
        }
    }
    g_array_free(all, TRUE);
    g_array_set_clear_func(outer, clear_hole);
    return outer;
}

/* ---- the whole */

static gint compare_files(gconstpointer a, gconstpointer b)
{
    return strcmp(((const CoverageFile *)a)->path, ((const CoverageFile *)b)->path);
}

static void read_export(JsonObject *export, const char *folder, Coverage *coverage)
{
    JsonArray *files = json_object_get_array_member(export, "files"),
              *functions = json_object_get_array_member(export, "functions");
    GHashTable *regions = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_region);
    GHashTable *conditions = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_condition);

    coverage->files = g_array_new(FALSE, TRUE, sizeof(CoverageFile));
    g_array_set_clear_func(coverage->files, clear_file);
    for (guint i = 0; i < json_array_get_length(files); i++) {
        read_file(json_array_get_object_element(files, i), folder, coverage->files);
    }
    g_array_sort(coverage->files, compare_files);
    for (guint i = 0; functions && i < json_array_get_length(functions); i++) {
        read_function(json_array_get_object_element(functions, i), folder, regions);
        read_conditions(json_array_get_object_element(functions, i), folder, conditions);
    }
    coverage->holes = holes_of(regions);
    count_sides(conditions, coverage);
    g_hash_table_unref(regions);
    g_hash_table_unref(conditions);
}

bool coverage_read(const char *json, const char *folder, Coverage *coverage)
{
    JsonParser *parser = json_parser_new();
    GError *error = NULL;
    JsonNode *root = json_parser_load_from_data(parser, json, -1, &error) ? json_parser_get_root(parser) : NULL;
    JsonArray *data = root && JSON_NODE_HOLDS_OBJECT(root) ? json_object_get_array_member(json_node_get_object(root), "data")
                                                           : NULL;
    bool good = data && json_array_get_length(data) == 1;

    *coverage = (Coverage){ NULL };
    if (good) {
        read_export(json_array_get_object_element(data, 0), folder, coverage);
    } else {
        cli_fail("cannot read what llvm-cov exports: %s", error ? error->message : "it is no coverage");
    }
    g_clear_error(&error);
    g_object_unref(parser);
    return good;
}

void coverage_free(Coverage *coverage)
{
    if (coverage->files) {
        g_array_free(coverage->files, TRUE);
        g_array_free(coverage->holes, TRUE);
        g_array_free(coverage->sides, TRUE);
    }
    *coverage = (Coverage){ NULL };
}

static void add(CoverageCount *sum, const CoverageCount *count)
{
    sum->all += count->all;
    sum->reached += count->reached;
}

CoverageFile coverage_total(const Coverage *coverage)
{
    CoverageFile total = { .path = NULL };

    for (guint i = 0; i < coverage->files->len; i++) {
        const CoverageFile *file = &g_array_index(coverage->files, CoverageFile, i);

        add(&total.lines, &file->lines);
        add(&total.branches, &file->branches);
        add(&total.functions, &file->functions);
    }
    return total;
}
