// SPDX-License-Identifier: Apache-2.0
/*
 * hls.js 1.7.4 forgets an append of one track when a segment of another is
 * through just then: it takes the next step of every track's queue, also of one
 * whose append has ended without its `updateend` having been handled, and says
 * bufferAppendNoProgress of it or loads it again (docs/adr/0025). An append is
 * left to that event here.
 */
export const bufferControllerOf = (Hls) =>
  class extends Hls.DefaultConfig.bufferController {
    stepOperationQueue(tracks) {
      super.stepOperationQueue(tracks.filter((track) =>
        !this.currentOp(track)?.label.startsWith('append-')));
    }
  };
