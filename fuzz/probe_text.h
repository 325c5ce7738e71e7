/*
 * What a sanitizer printed before it ended the process, as a verdict. Pure; any thread.
 */
#ifndef WAKEFUZZ_FUZZ_PROBE_TEXT_H
#define WAKEFUZZ_FUZZ_PROBE_TEXT_H

#include "fuzz/probe.h"

/* Fill verdict, key and summary from a sanitizer's report. False: there is none in the text. */
bool probe_text_sanitizer(const char *text, ProbeResult *result);

#endif
