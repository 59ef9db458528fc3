package org.apache.beam.sdk.fn.server;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.apache.beam.model.pipeline.v1.Endpoints.ApiServiceDescriptor;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.BindableService;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Server;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ServerInterceptors;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.netty.NettyServerBuilder;
import org.apache.beam.vendor.guava.v32_1_2_jre.com.google.common.net.HostAndPort;

/**
 * Makes the gRPC servers of the job server (jobs, artifacts) and of the TaskManagers (control, data, state and logs of
 * the workers). Takes the place of Beam's class of this name, which listens on all interfaces whatever host it is given.
 * None of these services asks who is calling, and they run code: here they listen on loopback.
 *
 * <p>-Drails.bind=HOST binds elsewhere, for a job server that others must reach. Unix sockets are left out: the Flink
 * runner does not use them.
 */
public class ServerFactory {

  private static final String HOST = System.getProperty("rails.bind", InetAddress.getLoopbackAddress().getHostAddress());

  private final UrlFactory urls;
  private final Supplier<Integer> ports;

  private ServerFactory(UrlFactory urls, Supplier<Integer> ports) {
    this.urls = urls;
    this.ports = ports;
  }

  /** Any free port. */
  public static ServerFactory createDefault() {
    return new ServerFactory(UrlFactory.createDefault(), () -> 0);
  }

  /** Any free port, announced as the factory says. */
  public static ServerFactory createWithUrlFactory(UrlFactory urlFactory) {
    return new ServerFactory(urlFactory, () -> 0);
  }

  /** The supplier's ports. */
  public static ServerFactory createWithPortSupplier(Supplier<Integer> portSupplier) {
    return new ServerFactory(UrlFactory.createDefault(), portSupplier);
  }

  /** The supplier's ports, announced as the factory says. */
  public static ServerFactory createWithUrlFactoryAndPortSupplier(
      UrlFactory urlFactory, Supplier<Integer> portSupplier) {
    return new ServerFactory(urlFactory, portSupplier);
  }

  /** Starts a server on a port of ours and writes its address into the descriptor. */
  public Server allocateAddressAndCreate(List<BindableService> services, ApiServiceDescriptor.Builder descriptor)
      throws IOException {
    Server server = start(services, ports.get());
    descriptor.setUrl(urls.createUrl(HOST, server.getPort()));
    return server;
  }

  /** Starts a server on the port of the descriptor; its host is what clients are told, not what we listen on. */
  public Server create(List<BindableService> services, ApiServiceDescriptor descriptor) throws IOException {
    return start(services, HostAndPort.fromString(descriptor.getUrl()).getPort());
  }

  private static Server start(List<BindableService> services, int port) throws IOException {
    NettyServerBuilder builder = NettyServerBuilder.forAddress(new InetSocketAddress(HOST, port));
    builder.maxInboundMessageSize(Integer.MAX_VALUE); // the layers above bound their messages
    builder.permitKeepAliveTime(20, TimeUnit.SECONDS); // what Beam's clients send
    for (BindableService service : services) {
      builder.addService(ServerInterceptors.intercept(service, GrpcContextHeaderAccessorProvider.interceptor()));
    }
    return builder.build().start();
  }

  /** How clients are to call a server that listens on this host and port. */
  @FunctionalInterface
  public interface UrlFactory {
    String createUrl(String host, int port);

    static UrlFactory createDefault() {
      return (host, port) -> HostAndPort.fromParts(host, port).toString();
    }
  }
}
