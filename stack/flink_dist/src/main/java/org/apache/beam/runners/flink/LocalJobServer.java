package org.apache.beam.runners.flink;

import java.util.List;
import java.util.UUID;
import org.apache.beam.model.pipeline.v1.RunnerApi;
import org.apache.beam.runners.flink.FlinkJobServerDriver.FlinkServerConfiguration;
import org.apache.beam.runners.jobsubmission.JobInvocation;
import org.apache.beam.sdk.io.FileSystems;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.util.construction.PipelineOptionsTranslation;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.Struct;
import org.apache.beam.vendor.guava.v32_1_2_jre.com.google.common.util.concurrent.ListeningExecutorService;

/**
 * Beam's Flink job server for a cluster that runs from this very jar; same flags as FlinkJobServerDriver.
 *
 * <p>Beam's own uploads its whole class path with every job: 160 MB through the JobManager's blob server to every
 * TaskManager, for classes that are there already.
 */
public final class LocalJobServer {

  private LocalJobServer() {}

  public static void main(String[] args) throws Exception {
    FileSystems.setDefaultPipelineOptions(PipelineOptionsFactory.create());
    FlinkServerConfiguration configuration = FlinkJobServerDriver.parseArgs(args);
    FlinkJobServerDriver.fromConfig(configuration, () -> new Invoker(configuration)).run();
  }

  /** Runs jobs without files of ours. */
  private static final class Invoker extends FlinkJobInvoker {
    private final FlinkServerConfiguration configuration;

    Invoker(FlinkServerConfiguration configuration) {
      super(configuration);
      this.configuration = configuration;
    }

    @Override
    protected JobInvocation invokeWithExecutor(
        RunnerApi.Pipeline pipeline, Struct options, String retrievalToken, ListeningExecutorService executor) {
      FlinkPipelineOptions job = PipelineOptionsTranslation.fromProto(options).as(FlinkPipelineOptions.class);
      if (FlinkPipelineOptions.AUTO.equals(job.getFlinkMaster())) {
        job.setFlinkMaster(configuration.getFlinkMaster());
      }
      job.setRunner(null); // the Python side's name of a runner, no class here
      String invocation = job.getJobName() + "_" + UUID.randomUUID();
      return createJobInvocation(
          invocation,
          retrievalToken,
          executor,
          pipeline,
          job,
          new FlinkPipelineRunner(job, configuration.getFlinkConfDir(), List.of()));
    }
  }
}
