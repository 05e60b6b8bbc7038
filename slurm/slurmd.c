/* SPDX-License-Identifier: Apache-2.0 */
#include "slurmd.h"

#include <unistd.h>

#include "clean.h"
#include "client.h"
#include "options.h"

/* The worker acknowledges at once and fetches behind our back; the job waits for the prolog. */
#define ACK_MS_MAX 2000

extern char **environ;

int slurmd_prolog(spank_t spank, int count, char **arguments) {
  struct settings settings;
  struct place place;
  struct options options = {0};
  struct error error = {0};
  uint32_t job = 0;
  uid_t uid = 0;

  /* No init runs in this context, so spank_option_getopt knows no option; Slurm's variable is what it would
   * read. */
  options_take_spank(&options, environ, "SPANK_");
  if (options_want_container(&options) && spank_get_item(spank, S_JOB_UID, &uid) == ESPANK_SUCCESS &&
      spank_get_item(spank, S_JOB_ID, &job) == ESPANK_SUCCESS && place_find(&place)) {
    cleanup_frame_out struct frame_out frame = {0};
    cleanup_frame_in struct frame_in answer = {0};
    settings_read(&settings, count, arguments, &error);
    cleanup_close int connection = client_connect(&settings, &place, &error);

    frame_start(&frame, BERTH_PREFETCH);
    frame_add_word(&frame, BERTH_TAG_JOB, job);
    frame_add_word(&frame, BERTH_TAG_UID, uid);
    options_add_to(&options, &frame);
    if (connection >= 0 && frame_finish(&frame) && client_send(connection, &frame, NULL, 0, &error) == 0)
      (void)client_receive(connection, &answer, ACK_MS_MAX, &error);
  }
  options_free(&options);
  return 0;
}
