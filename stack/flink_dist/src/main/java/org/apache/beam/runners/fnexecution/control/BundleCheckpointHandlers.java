package org.apache.beam.runners.fnexecution.control;

import java.util.concurrent.atomic.AtomicLong;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.DelayedBundleApplication;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.ProcessBundleResponse;
import org.apache.beam.runners.core.InMemoryTimerInternals;
import org.apache.beam.runners.core.StateInternals;
import org.apache.beam.runners.core.StateInternalsFactory;
import org.apache.beam.runners.core.StateNamespace;
import org.apache.beam.runners.core.StateNamespaces;
import org.apache.beam.runners.core.StateTags;
import org.apache.beam.runners.core.TimerInternals;
import org.apache.beam.runners.core.TimerInternals.TimerData;
import org.apache.beam.runners.core.TimerInternalsFactory;
import org.apache.beam.sdk.coders.Coder;
import org.apache.beam.sdk.state.TimeDomain;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.util.CoderUtils;
import org.apache.beam.sdk.util.ReleaseInfo;
import org.apache.beam.sdk.values.WindowedValue;
import org.apache.beam.sdk.values.WindowedValues;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.Timestamp;
import org.joda.time.Instant;

/**
 * Keeps what a splittable DoFn gave back, and wakes it when its delay is over. Takes the place of Beam's class of this
 * name in a Flink runner before 2.76, whose state grows without end (apache/beam#27648).
 *
 * <p>There, each residual gets a timer and a state cell under a name that was never used before. A timer goes when it
 * fires. A cell does not: to Flink each new name is a new state descriptor, which every checkpoint lists for ever. A
 * DoFn that polls ten times a second adds ten descriptors a second.
 *
 * <p>Here, a residual takes the lowest slot ("sdf_checkpoint:0", ":1", ...) whose timer is not pending for its key and
 * window. A slot is free again when its timer has fired: the operator removes the timer, then reads the cell. So there
 * are as many names as residuals that wait at once under one key. (A single name would not do: all splits of a source
 * share a key.)
 *
 * <p>The operator reads the cell by the timer's id, whatever that is, so nothing else changes; a savepoint of either
 * class is read by the other.
 */
@SuppressWarnings({"rawtypes", "unchecked"})
public class BundleCheckpointHandlers {

  /** Used by Flink's streaming and batch operators under this very name. */
  public static class StateAndTimerBundleCheckpointHandler<T> implements BundleCheckpointHandler {

    public static final String SDF_PREFIX = "sdf_checkpoint";

    /** The release whose operators this was written for and tested with. From 2.76 on the fault is mended. */
    private static final String TESTED = "2.70.0";

    private final TimerInternalsFactory<T> timerInternalsFactory;
    private final StateInternalsFactory<T> stateInternalsFactory;
    private final Coder<WindowedValue<T>> residualCoder;
    private final Coder windowCoder;

    /** Names of batch jobs: their state lives in memory and ends with the bundle. */
    private final AtomicLong next = new AtomicLong();

    /** Whether it has been seen that a timer that was set counts as pending. */
    private boolean proven = false;

    public StateAndTimerBundleCheckpointHandler(
        TimerInternalsFactory<T> timerInternalsFactory,
        StateInternalsFactory<T> stateInternalsFactory,
        Coder<WindowedValue<T>> residualCoder,
        Coder windowCoder) {
      String version = ReleaseInfo.getReleaseInfo().getVersion();
      if (!version.equals(TESTED)) {
        throw new IllegalStateException(
            "this jar's own checkpoint handler is for Beam's Flink runner "
                + TESTED
                + ", not "
                + version
                + ": build with -Pstock (right from 2.76 on), or test the handler with that version");
      }
      this.timerInternalsFactory = timerInternalsFactory;
      this.stateInternalsFactory = stateInternalsFactory;
      this.residualCoder = residualCoder;
      this.windowCoder = windowCoder;
    }

    /** Whether a timer wakes a residual; the operators ask. */
    public static boolean isSdfTimer(String timerId) {
      return timerId.startsWith(SDF_PREFIX);
    }

    @Override
    public void onCheckpoint(ProcessBundleResponse response) {
      for (DelayedBundleApplication residual : response.getResidualRootsList()) {
        if (!residual.hasApplication()) {
          continue;
        }
        try {
          keep(residual);
        } catch (Exception e) {
          throw new RuntimeException("cannot keep the residual of a splittable DoFn", e);
        }
      }
    }

    private void keep(DelayedBundleApplication residual) throws Exception {
      WindowedValue<T> value =
          CoderUtils.decodeFromByteArray(residualCoder, residual.getApplication().getElement().toByteArray());
      TimerInternals timers = timerInternalsFactory.timerInternalsForKey(value.getValue());
      StateInternals states = stateInternalsFactory.stateInternalsForKey(value.getValue());
      Instant wake = wakeTime(residual);
      Instant hold = watermarkHold(residual);
      for (BoundedWindow window : value.getWindows()) {
        StateNamespace namespace = StateNamespaces.window(windowCoder, window);
        String name = freeName(timers, namespace, hold);
        timers.setTimer(namespace, name, "", wake, hold, TimeDomain.PROCESSING_TIME);
        prove(timers, namespace, name, hold);
        states
            .state(namespace, StateTags.value(name, residualCoder))
            .write(
                WindowedValues.of(
                    value.getValue(), value.getTimestamp(), java.util.List.of(window), value.getPaneInfo()));
      }
    }

    /** Now plus the delay, in milliseconds. Beam's class cuts the delay to whole seconds: 100 ms become a busy loop. */
    private static Instant wakeTime(DelayedBundleApplication residual) {
      if (!residual.hasRequestedTimeDelay()) {
        return Instant.now();
      }
      var delay = residual.getRequestedTimeDelay();
      return Instant.now().plus(delay.getSeconds() * 1000 + delay.getNanos() / 1_000_000);
    }

    /** The smallest watermark among the outputs; none said, none may pass. In milliseconds, rounded down. */
    private static Instant watermarkHold(DelayedBundleApplication residual) {
      var watermarks = residual.getApplication().getOutputWatermarksMap().values();
      if (watermarks.isEmpty()) {
        return BoundedWindow.TIMESTAMP_MIN_VALUE;
      }
      long hold = BoundedWindow.TIMESTAMP_MAX_VALUE.getMillis();
      for (Timestamp watermark : watermarks) {
        hold = Math.min(hold, watermark.getSeconds() * 1000 + watermark.getNanos() / 1_000_000);
      }
      return Instant.ofEpochMilli(hold);
    }

    private String freeName(TimerInternals timers, StateNamespace namespace, Instant hold) {
      if (timers instanceof InMemoryTimerInternals) {
        return SDF_PREFIX + ":" + next.getAndIncrement();
      }
      for (int slot = 0; ; slot++) {
        String name = SDF_PREFIX + ":" + slot;
        if (!isPending(timers, namespace, name, hold)) {
          return name;
        }
      }
    }

    /** Once per operator: the question that slots rest on must be answered with yes after a timer was set. */
    private void prove(TimerInternals timers, StateNamespace namespace, String name, Instant hold) {
      if (proven || timers instanceof InMemoryTimerInternals) {
        return;
      }
      if (!isPending(timers, namespace, name, hold)) {
        throw new IllegalStateException("a timer that was just set is not pending: another runner version?");
      }
      proven = true;
    }

    /**
     * Whether a timer of this name waits for the current key. Flink's timer internals have no such question. But to set
     * a timer they look the pending one of that name up, compare the new one with it by {@code equals}, and change
     * nothing when they are equal: so a timer that claims to be equal to everything learns what it was compared with.
     */
    private static boolean isPending(TimerInternals timers, StateNamespace namespace, String name, Instant hold) {
      Question question = new Question(namespace, name, hold);
      timers.setTimer(question);
      if (!question.asked) {
        throw new IllegalStateException("the timer internals did not compare timers: another runner version?");
      }
      return question.pending;
    }
  }

  /** A timer that is never set. */
  private static final class Question extends TimerData {
    private final StateNamespace namespace;
    private final String name;
    private final Instant hold;
    private boolean asked = false;
    private boolean pending = false;

    Question(StateNamespace namespace, String name, Instant hold) {
      this.namespace = namespace;
      this.name = name;
      this.hold = hold;
    }

    @Override
    public boolean equals(Object other) {
      asked = true;
      pending = other != null;
      return true;
    }

    @Override
    public int hashCode() {
      return 0;
    }

    @Override
    public String getTimerId() {
      return name;
    }

    @Override
    public String getTimerFamilyId() {
      return "";
    }

    @Override
    public StateNamespace getNamespace() {
      return namespace;
    }

    @Override
    public Instant getTimestamp() {
      return hold;
    }

    /** The hold of the timer that follows: the operator lowers its own to it already when it is asked. */
    @Override
    public Instant getOutputTimestamp() {
      return hold;
    }

    @Override
    public TimeDomain getDomain() {
      return TimeDomain.PROCESSING_TIME;
    }

    @Override
    public boolean getDeleted() {
      return false;
    }
  }
}
