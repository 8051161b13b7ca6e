/* SPDX-License-Identifier: MIT */
/*
 * Purpose: TARGET = TRANSPORT:WHERE, the device that `vio probe` and `vio bench` drive. Where it sits: cli/.
 */
#ifndef VIO_CLI_TARGET_H
#define VIO_CLI_TARGET_H

#include <vio/types.h>

/* The path of "vhost-user:PATH"; a path alone is one too. -EINVAL: the sentence is in why. */
int target_vhost_user(const char *target, const char **path, char *why, size_t why_size) VIO_MUST_CHECK;

/* The sentence about a target that could not be reached: `said` of its transport, or the error, behind its name. */
void target_failed(const char *target, const char *path, const char *said, int error, char *why, size_t why_size);

#endif
