/* What the parts of wakefuzz doctor share: one line for each check. One thread. */
#ifndef WAKEFUZZ_CLI_DOCTOR_H
#define WAKEFUZZ_CLI_DOCTOR_H

#include "cli/table.h"

typedef struct Doctor {
    Table *table;
    unsigned bad;
} Doctor;

typedef enum DoctorState { DOCTOR_GOOD, DOCTOR_NOTE, DOCTOR_BAD } DoctorState;

__attribute__((format(printf, 4, 5))) void doctor_tell(Doctor *doctor, const char *check, DoctorState state, const char *format,
                                                       ...);

/* Check a folder of targets as OSS-Fuzz gets it, each target: is it instrumented for this sanitizer and no other, does it start from
 * another place, are its side files right. False with a message where the question makes no sense. */
bool doctor_check_folder(Doctor *doctor, const char *folder, const char *sanitizer);

#endif
