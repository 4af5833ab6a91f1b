//! The data sets, declared as data.
//!
//! Property paths are those of the managed objects in the "vSphere Web Services API" reference
//! (<https://developer.broadcom.com/xapis/vsphere-web-services-api/latest/>); all are in version
//! 6.5 of the API unless `since` says otherwise.

use connector_core::Duplicates;

use crate::declare::{
    Origin, Property, VcenterDataset, bool, folder_datacenter, folder_path, id, int, text, time,
    uuid, vcenter,
};

const MACHINES: &str = "Virtual machines";
const HOSTS: &str = "Hosts";
const PLACES: &str = "Inventory";
const STORAGE: &str = "Storage and network";
const LICENCES: &str = "Licences";

/// Returns the data sets.
pub fn datasets() -> &'static [VcenterDataset] {
    &DATASETS
}

static DATASETS: [VcenterDataset; 19] = [
    VIRTUAL_MACHINES,
    VM_ADAPTERS,
    VM_DATASTORES,
    VM_NETWORKS,
    VM_CUSTOM_VALUES,
    HOSTS_THEMSELVES,
    HOST_IDENTIFIERS,
    HOST_VMS,
    HOST_CUSTOM_VALUES,
    CLUSTERS,
    RESOURCE_POOLS,
    DATACENTERS,
    FOLDERS,
    DATASTORES,
    DATASTORE_HOSTS,
    NETWORKS,
    CUSTOM_FIELDS,
    LICENCE_KEYS,
    LICENCE_ASSIGNMENTS,
];

/// Templates are among them (`is_template`). `config` is missing altogether of a machine that is
/// not accessible, and `guest` without VMware Tools or while it is off.
const VIRTUAL_MACHINES: VcenterDataset = VcenterDataset {
    name: "virtual_machines",
    category: MACHINES,
    about: "virtual machines and templates",
    from: Origin::Objects("VirtualMachine"),
    columns: &[
        vcenter(),
        id("vm"),
        text("name", "name"),
        text("folder", "parent"),
        text("resource_pool", "resourcePool"),
        text("host", "runtime.host"),
        uuid("instance_uuid", "config.instanceUuid"),
        uuid("bios_uuid", "config.uuid"),
        bool("is_template", "config.template"),
        text("hardware_version", "config.version"),
        text("annotation", "config.annotation"),
        time("created_at", "config.createDate").since(6, 7),
        text("change_version", "config.changeVersion").volatile(),
        text("configured_guest_id", "config.guestId"),
        text("configured_guest_name", "config.guestFullName"),
        int("cpus", "config.hardware.numCPU"),
        int("cores_per_socket", "config.hardware.numCoresPerSocket"),
        int("memory_mb", "config.hardware.memoryMB"),
        text("power_state", "runtime.powerState"),
        text("connection_state", "runtime.connectionState"),
        time("booted_at", "runtime.bootTime"),
        text("guest_host_name", "guest.hostName"),
        text("guest_ip_address", "guest.ipAddress"),
        text("guest_id", "guest.guestId"),
        text("guest_name", "guest.guestFullName"),
        text("guest_family", "guest.guestFamily"),
        text("tools_running_status", "guest.toolsRunningStatus"),
        text("tools_version_status", "guest.toolsVersionStatus2"),
        text("tools_version", "guest.toolsVersion"),
        text("path", "summary.config.vmPathName"),
        int("storage_committed_bytes", "summary.storage.committed").volatile(),
        int("storage_uncommitted_bytes", "summary.storage.uncommitted").volatile(),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// As VMware Tools report them, with all addresses: none without Tools. Adapters that a guest made
/// itself have the device -1, and may share an address: of those one is kept.
const VM_ADAPTERS: VcenterDataset = VcenterDataset {
    name: "vm_adapters",
    category: MACHINES,
    about: "network adapters of virtual machines, as their guests see them",
    from: Origin::Objects("VirtualMachine"),
    each: "guest.net",
    columns: &[
        vcenter(),
        id("vm"),
        int("device", "guest.net/deviceConfigId").key(),
        text("mac_address", "guest.net/macAddress").key(),
        text("network_name", "guest.net/network"),
        bool("connected", "guest.net/connected"),
        text("ip_addresses", "guest.net/ipAddress").joined(),
    ],
    duplicates: Duplicates::KeepGreatest,
}
.checked();

/// Which machine has files on which datastore.
const VM_DATASTORES: VcenterDataset = VcenterDataset {
    name: "vm_datastores",
    category: MACHINES,
    about: "which virtual machine has files on which datastore",
    from: Origin::Objects("VirtualMachine"),
    each: "datastore",
    columns: &[vcenter(), id("vm"), text("datastore", "datastore/").key()],
    ..VcenterDataset::NEW
}
.checked();

/// Which machine is on which network.
const VM_NETWORKS: VcenterDataset = VcenterDataset {
    name: "vm_networks",
    category: MACHINES,
    about: "which virtual machine is on which network",
    from: Origin::Objects("VirtualMachine"),
    each: "network",
    columns: &[vcenter(), id("vm"), text("network", "network/").key()],
    ..VcenterDataset::NEW
}
.checked();

/// What people wrote into the fields of `custom_fields`.
const VM_CUSTOM_VALUES: VcenterDataset = VcenterDataset {
    name: "vm_custom_values",
    category: MACHINES,
    about: "custom attributes of virtual machines",
    from: Origin::Objects("VirtualMachine"),
    each: "customValue",
    columns: &[
        vcenter(),
        id("vm"),
        int("field", "customValue/key").key(),
        text("value", "customValue/value"),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// `cores` and `threads` are those of all packages together. `parent` is a cluster, or the
/// `ComputeResource` of a host that stands alone.
const HOSTS_THEMSELVES: VcenterDataset = VcenterDataset {
    name: "hosts",
    category: HOSTS,
    about: "hosts, with hardware and version",
    from: Origin::Objects("HostSystem"),
    columns: &[
        vcenter(),
        id("host"),
        text("name", "name"),
        text("parent", "parent"),
        text("parent_type", "parent/@type"),
        text("vendor", "hardware.systemInfo.vendor"),
        text("model", "hardware.systemInfo.model"),
        text("uuid", "hardware.systemInfo.uuid"),
        text("serial_number", "hardware.systemInfo.serialNumber").since(6, 7),
        text("bios_version", "hardware.biosInfo.biosVersion"),
        time("bios_released_at", "hardware.biosInfo.releaseDate"),
        text("cpu_model", "summary.hardware.cpuModel"),
        int("cpu_mhz", "summary.hardware.cpuMhz"),
        int("cpu_packages", "hardware.cpuInfo.numCpuPackages"),
        int("cpu_cores", "hardware.cpuInfo.numCpuCores"),
        int("cpu_threads", "hardware.cpuInfo.numCpuThreads"),
        int("memory_bytes", "hardware.memorySize"),
        text("product", "config.product.name"),
        text("version", "config.product.version"),
        text("build", "config.product.build"),
        text("licence_product", "config.product.licenseProductName"),
        text("connection_state", "runtime.connectionState"),
        text("power_state", "runtime.powerState"),
        bool("in_maintenance_mode", "runtime.inMaintenanceMode"),
        time("booted_at", "runtime.bootTime"),
        text("management_server_ip", "summary.managementServerIp").unless_denied(),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// `ServiceTag` and `AssetTag` among others: the serial number where `hosts` has none.
const HOST_IDENTIFIERS: VcenterDataset = VcenterDataset {
    name: "host_identifiers",
    category: HOSTS,
    about: "service tags and other numbers of hosts",
    from: Origin::Objects("HostSystem"),
    each: OTHER_INFO,
    columns: &[
        vcenter(),
        id("host"),
        text(
            "kind",
            "hardware.systemInfo.otherIdentifyingInfo/identifierType/key",
        )
        .key(),
        text(
            "value",
            "hardware.systemInfo.otherIdentifyingInfo/identifierValue",
        )
        .key(),
    ],
    ..VcenterDataset::NEW
}
.checked();

const OTHER_INFO: &str = "hardware.systemInfo.otherIdentifyingInfo";

/// Which machine is registered on which host, running or not.
const HOST_VMS: VcenterDataset = VcenterDataset {
    name: "host_vms",
    category: HOSTS,
    about: "which virtual machine is on which host",
    from: Origin::Objects("HostSystem"),
    each: "vm",
    columns: &[vcenter(), id("host"), text("vm", "vm/").key()],
    ..VcenterDataset::NEW
}
.checked();

/// What people wrote into the fields of `custom_fields`.
const HOST_CUSTOM_VALUES: VcenterDataset = VcenterDataset {
    name: "host_custom_values",
    category: HOSTS,
    about: "custom attributes of hosts",
    from: Origin::Objects("HostSystem"),
    each: "customValue",
    columns: &[
        vcenter(),
        id("host"),
        int("field", "customValue/key").key(),
        text("value", "customValue/value"),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// `effective_*` is what the hosts that can be used have just now.
const CLUSTERS: VcenterDataset = VcenterDataset {
    name: "clusters",
    category: PLACES,
    about: "clusters, with their totals",
    from: Origin::Objects("ClusterComputeResource"),
    columns: &[
        vcenter(),
        id("cluster"),
        text("name", "name"),
        text("folder", "parent"),
        text("resource_pool", "resourcePool"),
        int("hosts", "summary.numHosts"),
        int("cpu_cores", "summary.numCpuCores"),
        int("cpu_threads", "summary.numCpuThreads"),
        int("cpu_mhz", "summary.totalCpu"),
        int("memory_bytes", "summary.totalMemory"),
        int("effective_hosts", "summary.numEffectiveHosts").volatile(),
        int("effective_cpu_mhz", "summary.effectiveCpu").volatile(),
        int("effective_memory_mb", "summary.effectiveMemory").volatile(),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// Reservations and limits of the processor in MHz, of memory in MB; a limit of -1 is none.
const RESOURCE_POOLS: VcenterDataset = VcenterDataset {
    name: "resource_pools",
    category: PLACES,
    about: "resource pools, with reservations and limits",
    from: Origin::Objects("ResourcePool"),
    columns: &[
        vcenter(),
        id("resource_pool"),
        text("name", "name"),
        text("parent", "parent"),
        text("parent_type", "parent/@type"),
        text("owner", "owner"),
        int("cpu_reservation_mhz", "config.cpuAllocation.reservation"),
        int("cpu_limit_mhz", "config.cpuAllocation.limit"),
        int(
            "memory_reservation_mb",
            "config.memoryAllocation.reservation",
        ),
        int("memory_limit_mb", "config.memoryAllocation.limit"),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// The roots of four trees of folders each.
const DATACENTERS: VcenterDataset = VcenterDataset {
    name: "datacenters",
    category: PLACES,
    about: "datacenters",
    from: Origin::Objects("Datacenter"),
    columns: &[
        vcenter(),
        id("datacenter"),
        text("name", "name"),
        text("folder", "parent"),
        text("vm_folder", "vmFolder"),
        text("host_folder", "hostFolder"),
        text("datastore_folder", "datastoreFolder"),
        text("network_folder", "networkFolder"),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// Without the root folder. `path` has the names from the top, each after a `/`.
const FOLDERS: VcenterDataset = VcenterDataset {
    name: "folders",
    category: PLACES,
    about: "folders, with their path",
    from: Origin::Objects("Folder"),
    columns: &[
        vcenter(),
        id("folder"),
        text("name", "name"),
        text("parent", "parent"),
        text("parent_type", "parent/@type"),
        folder_path("path"),
        folder_datacenter("datacenter"),
        text("child_types", "childType/string").joined(),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// Shared ones once.
const DATASTORES: VcenterDataset = VcenterDataset {
    name: "datastores",
    category: STORAGE,
    about: "datastores",
    from: Origin::Objects("Datastore"),
    columns: &[
        vcenter(),
        id("datastore"),
        text("name", "name"),
        text("folder", "parent"),
        text("kind", "summary.type"),
        text("url", "summary.url"),
        int("capacity_bytes", "summary.capacity"),
        int("free_bytes", "summary.freeSpace").volatile(),
        bool("accessible", "summary.accessible"),
        bool("shared", "summary.multipleHostAccess"),
        text("maintenance_mode", "summary.maintenanceMode"),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// Which host mounts which datastore.
const DATASTORE_HOSTS: VcenterDataset = VcenterDataset {
    name: "datastore_hosts",
    category: STORAGE,
    about: "which host mounts which datastore",
    from: Origin::Objects("Datastore"),
    each: "host",
    columns: &[
        vcenter(),
        id("datastore"),
        text("host", "host/key").key(),
        text("access_mode", "host/mountInfo/accessMode"),
        bool("mounted", "host/mountInfo/mounted"),
        bool("accessible", "host/mountInfo/accessible"),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// Networks and port groups of distributed switches.
const NETWORKS: VcenterDataset = VcenterDataset {
    name: "networks",
    category: STORAGE,
    about: "networks and distributed port groups",
    from: Origin::Objects("Network"),
    columns: &[
        vcenter(),
        id("network"),
        text("name", "name"),
        text("folder", "parent"),
        bool("accessible", "summary.accessible"),
        text("ip_pool", "summary.ipPoolName"),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// The names of the fields that custom values refer to.
const CUSTOM_FIELDS: VcenterDataset = VcenterDataset {
    name: "custom_fields",
    category: PLACES,
    about: "the fields of custom attributes",
    from: Origin::Manager {
        field: "customFieldsManager",
        kind: "CustomFieldsManager",
    },
    each: "field",
    columns: &[
        vcenter(),
        int("field", "field/key").key(),
        text("name", "field/name"),
        text("kind", "field/type"),
        text("object_type", "field/managedObjectType"),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// Needs the privilege `Global.Licenses`.
const LICENCE_KEYS: VcenterDataset = VcenterDataset {
    name: "licences",
    category: LICENCES,
    about: "licence keys, and how much of each is used",
    from: Origin::Manager {
        field: "licenseManager",
        kind: "LicenseManager",
    },
    each: "licenses",
    columns: &[
        vcenter(),
        text("licence_key", "licenses/licenseKey").key(),
        text("edition", "licenses/editionKey"),
        text("name", "licenses/name"),
        int("total", "licenses/total"),
        int("used", "licenses/used"),
        text("cost_unit", "licenses/costUnit"),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// Needs the privilege `Global.Licenses`. `entity` is the id of a host, or the instance uuid of the
/// vCenter.
const LICENCE_ASSIGNMENTS: VcenterDataset = VcenterDataset {
    name: "licence_assignments",
    category: LICENCES,
    about: "which licence is assigned to which host or vCenter",
    from: Origin::AssignedLicenses,
    each: "returnval",
    columns: &[
        vcenter(),
        text("entity", "returnval/entityId").key(),
        text("licence_key", "returnval/assignedLicense/licenseKey").key(),
        text("scope", "returnval/scope"),
        text("entity_name", "returnval/entityDisplayName"),
        text("licence_name", "returnval/assignedLicense/name"),
        text("edition", "returnval/assignedLicense/editionKey"),
    ],
    ..VcenterDataset::NEW
}
.checked();

/// For the tree that paths are made of.
pub(crate) static TREE: [VcenterDataset; 2] = [in_tree("Folder"), in_tree("Datacenter")];

const TREE_COLUMNS: &[Property] = &[id("object"), text("name", "name"), text("parent", "parent")];

const fn in_tree(kind: &'static str) -> VcenterDataset {
    VcenterDataset {
        name: "folders",
        category: PLACES,
        about: "names and parents",
        from: Origin::Objects(kind),
        columns: TREE_COLUMNS,
        ..VcenterDataset::NEW
    }
    .checked()
}

/// For the id of the manager that knows assignments of licences.
pub(crate) static ASSIGNMENT_MANAGER: VcenterDataset = VcenterDataset {
    name: "licence_assignments",
    category: LICENCES,
    about: "the manager of assignments",
    from: Origin::Manager {
        field: "licenseManager",
        kind: "LicenseManager",
    },
    columns: &[text("manager", "licenseAssignmentManager").key()],
    ..VcenterDataset::NEW
}
.checked();

#[cfg(test)]
mod tests {
    use connector_core::Column;

    use super::*;

    #[test]
    fn the_readme_lists_them() {
        let readme = include_str!("../README.md");
        for dataset in datasets() {
            let schema = dataset.schema().unwrap();
            let of = |wanted: fn(&Column) -> bool| {
                let columns = schema.columns().iter().filter(|column| wanted(column));
                let names = columns.map(|column| {
                    let mark = if column.is_volatile() { "*" } else { "" };
                    format!("{mark}`{}`{mark}", column.name())
                });
                names.collect::<Vec<_>>().join(", ")
            };
            let from = match (dataset.from, dataset.each) {
                (Origin::Objects(kind), "") => kind.to_owned(),
                (Origin::Objects(kind) | Origin::Manager { kind, .. }, each) => {
                    format!("{kind}.{each}")
                }
                (Origin::AssignedLicenses, _) => "QueryAssignedLicenses".to_owned(),
            };
            let line = format!(
                "| `{}` | {} | `{from}` | {} | {} |",
                dataset.name,
                dataset.category,
                of(Column::is_key),
                of(|column| !column.is_key())
            );
            assert!(readme.contains(&line), "{line}");
        }
    }
}
